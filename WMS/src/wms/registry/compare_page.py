"""Two versions of the model side by side: what changed on each test image, as one HTML file and as Markdown.

Only images that both were tested on, with the same photo and the same mask, are compared. Pure:
`wms_ops.release.compare` reads the scores and draws the masks.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from wms.errors import CannotDecideError

EQUAL: Final = 0.001
"""A smaller change of an image's Dice is none."""

SHOWN: Final = 6
_PLOT: Final = 320.0  # side of a drawing in its own units
_IN_TABLE: Final = 5
_MOST_BARS: Final = 400
# All but letters, digits, harmless marks, and an underscore within a word, which emphasises nothing.
_MARKS: Final = re.compile(r"(?<![^\W_])_|_(?![^\W_])|[^\w ,./-]")


@dataclass(frozen=True)
class ImageScore:
    """One image's result; loss is NaN where it isn't known."""

    dice: float
    iou: float
    loss: float


@dataclass(frozen=True)
class ComparedModel:
    """One of the two: a name such as "version 3", facts as label and text, and scores by stem.

    `contents` identifies photo and mask of each stem, empty where that wasn't recorded.
    """

    name: str
    facts: Mapping[str, str]
    scores: Mapping[str, ImageScore]
    contents: Mapping[str, str]


@dataclass(frozen=True)
class SettingChange:
    """One image, before and after."""

    stem: str
    before: ImageScore
    after: ImageScore

    @property
    def dice(self) -> float:
        return self.after.dice - self.before.dice

    @property
    def verdict(self) -> str:
        """ "better", "worse" or "equal", by Dice."""
        return "equal" if abs(self.dice) < EQUAL else "better" if self.dice > 0 else "worse"


@dataclass(frozen=True)
class Comparison:
    """Both sides, the images that they share, largest change first, and how many each has alone or changed."""

    before: ComparedModel
    after: ComparedModel
    changes: tuple[SettingChange, ...]
    only_before: int
    only_after: int
    differing: int

    @property
    def counts(self) -> dict[str, int]:
        """How many images became better, worse, or stayed equal."""
        found = [change.verdict for change in self.changes]
        return {word: found.count(word) for word in ("better", "worse", "equal")}

    @property
    def means(self) -> dict[str, tuple[float, float]]:
        """Means over the shared images, before and after, by name; without those that aren't known."""
        found = {
            name: (
                fmean(getattr(change.before, name) for change in self.changes),
                fmean(getattr(change.after, name) for change in self.changes),
            )
            for name in ("dice", "iou", "loss")
        }
        return {name: pair for name, pair in found.items() if not any(map(math.isnan, pair))}


@dataclass(frozen=True)
class Panel:
    """The pictures of one image: pairs of label and data URI."""

    stem: str
    pictures: tuple[tuple[str, str], ...]


def compare(before: ComparedModel, after: ComparedModel) -> Comparison:
    """Pair the images of both sides. Raises CannotDecideError where they share none."""
    both = before.scores.keys() & after.scores.keys()
    same = {stem for stem in both if _same_content(before, after, stem)}
    if not same:
        raise CannotDecideError(
            f"{before.name} and {after.name} were tested on different images, so nothing can be compared; "
            "run the quality gate, which scores both on the same ones."
        )
    changes = [SettingChange(stem, before.scores[stem], after.scores[stem]) for stem in same]
    changes.sort(key=lambda change: (-abs(change.dice), change.stem))
    return Comparison(
        before=before,
        after=after,
        changes=tuple(changes),
        only_before=len(before.scores.keys() - both),
        only_after=len(after.scores.keys() - both),
        differing=len(both) - len(same),
    )


def render_page(found: Comparison, panels: Sequence[Panel] = (), note: str = "") -> str:
    """The comparison as an HTML page: every value escaped, every picture inside, nothing loaded.

    `note` says why pictures are missing.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    shown = {panel.stem: panel.pictures for panel in panels}
    zero, bars = _bars(found)
    return environment.get_template("compare_page.html.j2").render(
        found=found,
        headline=headline(found),
        means=_means(found),
        facts=_facts(found),
        left_out=left_out(found),
        dots=_dots(found),
        zero=zero,
        bars=bars,
        plot=_PLOT,
        panels=[(change, shown[change.stem]) for change in found.changes if change.stem in shown],
        note=note,
    )


def render_table(found: Comparison) -> str:
    """The comparison for a pull request: GitHub's Markdown; names can't break out of it."""
    before, after = _literal(found.before.name), _literal(found.after.name)
    lines = [f"### {after} compared with {before}", "", headline(found), ""]
    lines += [f"| | {before} | {after} | change |", "|---|---:|---:|---:|"]
    lines += [f"| {name} | {one} | {two} | {change} |" for name, one, two, change, _ in _means(found)]
    lines += [f"| {name} | {_literal(one)} | {_literal(two)} | |" for name, one, two in _facts(found)]
    if top := [change for change in found.changes if change.verdict != "equal"][:_IN_TABLE]:
        lines += [
            "",
            "Changed most:",
            "",
            f"| photo | Dice, {before} | Dice, {after} | change |",
            "|---|---:|---:|---:|",
        ]
        for change in top:
            scores = f"{change.before.dice:.4f} | {change.after.dice:.4f} | {change.dice:+.4f}"
            lines.append(f"| {_literal(change.stem)} | {scores} |")
    lines += ["", text] if (text := left_out(found)) else []
    return "\n".join(lines) + "\n"


def headline(found: Comparison) -> str:
    """The result in one sentence."""
    counts = found.counts
    return (
        f"Of {_count(len(found.changes), 'test image')} that both saw, {counts['better']} became better, "
        f"{counts['worse']} worse, and {counts['equal']} stayed equal."
    )


def left_out(found: Comparison) -> str:
    """What couldn't be compared, in one sentence; empty where nothing was left out."""
    parts = {
        f"only {found.before.name} was tested on": found.only_before,
        f"only {found.after.name} was tested on": found.only_after,
        "whose photo or mask changed in between": found.differing,
    }
    said = [f"{_count(number, 'image')} {what}" for what, number in parts.items() if number]
    return f"Left out: {'; '.join(said)}." if said else ""


def _same_content(before: ComparedModel, after: ComparedModel, stem: str) -> bool:
    one, other = before.contents.get(stem), after.contents.get(stem)
    return one is None or other is None or one == other


def _means(found: Comparison) -> list[tuple[str, str, str, str, str]]:
    """Rows of label, before, after, change and whether that is "better", "worse" or "equal"."""
    labels = {"dice": "mean Dice", "iou": "mean IoU", "loss": "mean loss"}
    rows = []
    for name, (one, other) in found.means.items():
        gain = one - other if name == "loss" else other - one
        word = "equal" if abs(gain) < EQUAL else "better" if gain > 0 else "worse"
        rows.append((labels[name], f"{one:.4f}", f"{other:.4f}", f"{other - one:+.4f}", word))
    return rows


def _facts(found: Comparison) -> list[tuple[str, str, str]]:
    one, other = found.before.facts, found.after.facts
    return [(label, one.get(label, "-"), other.get(label, "-")) for label in dict.fromkeys([*one, *other])]


def _dots(found: Comparison) -> list[tuple[float, float, str, str]]:
    """Each image as x (before), y (after, upwards), verdict and a sentence."""
    return [
        (
            _PLOT * change.before.dice,
            _PLOT * (1 - change.after.dice),
            change.verdict,
            f"{change.stem}: {change.before.dice:.3f} to {change.after.dice:.3f}",
        )
        for change in reversed(found.changes)  # the largest changes lie on top
    ]


def _bars(found: Comparison) -> tuple[float, list[tuple[float, float, float, float, str, str]]]:
    """The zero line's y, and each image's change from worst to best as x, y, width, height, verdict and a sentence.

    Of very many images an even choice is drawn.
    """
    ordered = sorted(found.changes, key=lambda change: change.dice)
    ordered = ordered[:: -(-len(ordered) // _MOST_BARS)]
    highest, lowest = max(ordered[-1].dice, 0.0), min(ordered[0].dice, 0.0)
    scale = _PLOT / ((highest - lowest) or 1)
    zero, width = highest * scale, 2 * _PLOT / len(ordered)
    bars = []
    for place, change in enumerate(ordered):
        height = max(abs(change.dice) * scale, 0.8)
        text = f"{change.stem}: {change.dice:+.3f}"
        top = zero - height if change.dice > 0 else zero
        bars.append((place * width, top, max(width - 1, 0.6), height, change.verdict, text))
    return zero, bars


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _literal(text: str) -> str:
    """Text as character references wherever Markdown or HTML might read more into it."""
    return _MARKS.sub(lambda mark: f"&#{ord(mark[0])};", text)


def data_uri(jpeg: bytes) -> str:
    """A JPEG file as a link that needs no network."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
