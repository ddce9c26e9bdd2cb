"""Which masks need the name of the strip's class, and which names earlier runs of `--fix` were given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from wms.data.mask_values import MaskClass
from wms.data.qa.facts import MaskFacts
from wms.data.qa.names import shown
from wms.files import parse_json
from wms.regular import read_regular

LIST: Final = "fixes.json"
PREFIX: Final = "originals-"
_BACKGROUND: Final = frozenset({"", "0", "0,0,0", "0,0,0,0"})
_STRAY: Final = 0.0005  # share of a mask; the smallest strip of the real masks has 0.004


def names_given(folder: Path) -> frozenset[str]:
    """The classes that earlier runs of `--fix` in `folder` were told to be the strip, by the lists of their changes."""
    found = set[str]()
    for path in folder.glob(f"{PREFIX}*/{LIST}"):
        try:
            listed = parse_json(read_regular(path))
            found |= {str(entry.get("wanted", "")) for entry in listed}
        except (OSError, ValueError, AttributeError, TypeError):  # never read as "no name was given"
            found.add(f"that {path.parent.name}/{LIST} told, which can't be read any more")
    return frozenset(found - {""})


def needs_a_name(mask: MaskFacts) -> bool:
    """Whether the classes of a mask may need the strip's name: not so for 0 and 255, and for soft edges."""
    return bool(mask.classes) and (mask.ambiguous or mask.neither > 0)


def doubts(masks: Mapping[str, MaskFacts], named: frozenset[str]) -> dict[str, tuple[str, str]]:
    """For each mask that tells its strip by itself, while the set doubts that: the reason, and the next step. Pure.

    `named` are the classes that earlier runs of `--fix` took for the strip.
    """
    unclear = {
        name: file
        for file, mask in masks.items()
        if mask.ambiguous
        for one in mask.classes
        if one.share >= _STRAY  # single pixels of a value don't make the value a class
        for name in _names(one)
    }
    found = {}
    for file, mask in masks.items():
        marks = [one for one in mask.classes if _names(one)]
        if not needs_a_name(mask) or mask.ambiguous or any(_names(one) & named for one in marks):
            continue
        held = " and ".join(sorted(_name(one) for one in mask.classes))
        others = [(_name(one), unclear[name]) for one in marks for name in sorted(_names(one)) if name in unclear]
        if named:
            what = (
                f"holds {held}, while the strip of this data set was named as the class {' and '.join(sorted(named))}"
            )
            found[file] = what, f"remove the pair, or name this mask's strip with {_command(marks)}"
        elif others:
            (value, other), *_ = others
            what = f"holds {held}, and {value} is one of several classes in {shown(other)}"
            found[file] = what, f"name the strip's class with {_command(())}"
    return found


def _names(one: MaskClass) -> set[str]:
    """The names of a class; none for black and for nothing."""
    return {one.value, one.colour} - _BACKGROUND


def _name(one: MaskClass) -> str:
    return one.value or one.colour


def _command(marks: Sequence[MaskClass]) -> str:
    """The command that names a class: the only mark's, or else any."""
    if len(marks) != 1:
        return "`wms data check DIR --fix --class N` (a colour: --colour R,G,B)"
    option = f"--class {marks[0].value}" if marks[0].value else f"--colour {marks[0].colour}"
    return f"`wms data check DIR --fix {option}`"
