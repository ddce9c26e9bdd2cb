"""Compares two versions of the model on each test image, as an HTML file and as Markdown.

Only images that both versions were tested on, with the same photo and the same mask, are compared. Pure:
`wms_ops.release.compare` reads the scores and draws the masks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Final

from wms.errors import CannotDecideError
from wms.pages import render
from wms.text import literal

EQUAL: Final = 0.001
"""Changes of an image's Dice below this count as equal."""

SHOWN: Final = 6
_PLOT: Final = 320.0  # side of a drawing in its own units
_IN_TABLE: Final = 5
_MOST_BARS: Final = 400


@dataclass(frozen=True)
class ImageScore:
    """An image's scores; loss is NaN if unknown."""

    dice: float
    iou: float
    loss: float


@dataclass(frozen=True)
class ComparedModel:
    """A side of the comparison: a name such as "version 3", facts as label and text, and scores by stem.

    `contents` identifies photo and mask of each stem; stems without a recorded content are absent.
    """

    name: str
    facts: Mapping[str, str]
    scores: Mapping[str, ImageScore]
    contents: Mapping[str, str]


@dataclass(frozen=True)
class SettingChange:
    """An image's scores before and after."""

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
    """Both sides, their shared images (largest change first), and the number of images not compared, by reason."""

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
        """Means over the shared images, before and after, by metric name; unknown means are absent."""
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
    """Pair the images of both sides. Raises CannotDecideError if the sides share no image.

    >>> score = ImageScore(dice=0.9, iou=0.8, loss=0.1)
    >>> before, after = (ComparedModel(name, {}, {"a": score}, {}) for name in ("version 1", "version 2"))
    >>> compare(before, after).counts
    {'better': 0, 'worse': 0, 'equal': 1}
    """
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
    """Render the comparison as an HTML page that escapes every value, embeds every picture and loads nothing.

    `note` says why pictures are missing.
    """
    shown = {panel.stem: panel.pictures for panel in panels}
    zero, bars = _bars(found)
    values = {
        "found": found,
        "headline": headline(found),
        "means": _means(found),
        "facts": _facts(found),
        "left_out": left_out(found),
        "dots": _dots(found),
        "zero": zero,
        "bars": bars,
        "plot": _PLOT,
        "panels": [(change, shown[change.stem]) for change in found.changes if change.stem in shown],
        "note": note,
    }
    return render(Path(__file__).with_name("compare_page.html.j2"), values)


def render_table(found: Comparison) -> str:
    """Render the comparison as GitHub Markdown for a pull request; names can't break out of the table."""
    before, after = literal(found.before.name), literal(found.after.name)
    lines = [f"### {after} compared with {before}", "", headline(found), ""]
    lines += [f"| | {before} | {after} | change |", "|---|---:|---:|---:|"]
    lines += [f"| {name} | {one} | {two} | {change} |" for name, one, two, change, _ in _means(found)]
    lines += [f"| {name} | {literal(one)} | {literal(two)} | |" for name, one, two in _facts(found)]
    if top := [change for change in found.changes if change.verdict != "equal"][:_IN_TABLE]:
        lines += ["", "Changed most:", "", f"| photo | Dice, {before} | Dice, {after} | change |"]
        lines += ["|---|---:|---:|---:|"]
        for change in top:
            scores = f"{change.before.dice:.4f} | {change.after.dice:.4f} | {change.dice:+.4f}"
            lines.append(f"| {literal(change.stem)} | {scores} |")
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
    """Name the images that couldn't be compared, in a sentence; empty if all were."""
    parts = {
        f"only {found.before.name} was tested on": found.only_before,
        f"only {found.after.name} was tested on": found.only_after,
        "whose photo or mask changed in between": found.differing,
    }
    said = [f"{_count(number, 'image')} {what}" for what, number in parts.items() if number]
    return f"Left out: {'; '.join(said)}." if said else ""


def _same_content(before: ComparedModel, after: ComparedModel, stem: str) -> bool:
    one, other = before.contents.get(stem), after.contents.get(stem)
    # Older runs recorded no contents; for them an equal stem suffices.
    return one is None or other is None or one == other


def _means(found: Comparison) -> list[tuple[str, str, str, str, str]]:
    """Rows of label, before, after, change and "better", "worse" or "equal"."""
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

    Above _MOST_BARS images every n-th is drawn.
    """
    ordered = sorted(found.changes, key=lambda change: change.dice)
    # Ceiling division: the step that leaves at most _MOST_BARS bars.
    ordered = ordered[:: -(-len(ordered) // _MOST_BARS)]
    highest, lowest = max(ordered[-1].dice, 0.0), min(ordered[0].dice, 0.0)
    scale = _PLOT / ((highest - lowest) or 1)
    zero, width = highest * scale, 2 * _PLOT / len(ordered)
    bars = []
    for index, change in enumerate(ordered):
        # A change of 0 is still drawn as a hairline, so that no image seems to be missing.
        height = max(abs(change.dice) * scale, 0.8)
        text = f"{change.stem}: {change.dice:+.3f}"
        top = zero - height if change.dice > 0 else zero
        bars.append((index * width, top, max(width - 1, 0.6), height, change.verdict, text))
    return zero, bars


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
