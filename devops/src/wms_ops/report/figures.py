"""The pictures of a pull request as PNG bytes: both models on every test photo, and the photos that changed most.

matplotlib is used without pyplot: its global list of figures isn't safe in threads.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from wms.inference.overlay import Colour, Pixels
from wms.registry.gate_types import GateReport, ImageChange
from wms_ops.base.text import plain

SCORES, PHOTOS = "scores.png", "photos.png"
DESCRIPTIONS: Final = {
    SCORES: "Dice of every test photo, with both models' means",
    PHOTOS: "Photos that gained and lost most, with the outlines of truth, champion and challenger",
}
"""Each picture's description, as its alternative text."""

_INK, _SOFT, _GRID = "#1b1f24", "#57606a", "#d8dee4"
_UP, _DOWN, _SAME = "#1a7f37", "#cf222e", "#8c959f"
_CHAMPION, _CHALLENGER = "#bc4c00", "#0969da"


@dataclass(frozen=True)
class FigureCase:
    """A row of photos: its label, the image's scores, and pictures (H, W, 3) uint8 with their labels."""

    label: str
    image: ImageChange
    pictures: tuple[tuple[str, Pixels], ...]


def draw_scores(report: GateReport) -> bytes:
    """Dice of each test photo by champion and challenger, paired, with both means; a PNG file's bytes.

    In a first training only the new model is drawn: its photos in the order of their scores.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.1), dpi=180, layout="constrained", facecolor="white")
    if report.champion is None:
        _first(figure.subplots(), report)
    else:
        slopes, changes = figure.subplots(1, 2, width_ratios=(1, 1.35))
        _slopes(slopes, report)
        _changes(changes, report.images)
    return _png(figure)


def draw_photos(cases: Sequence[FigureCase], colours: Sequence[tuple[str, Colour]]) -> bytes:
    """Draw a row of pictures for each case as a PNG file's bytes; `colours` names the outlines.

    Raises ValueError without a case.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    if not cases:
        raise ValueError("There is no photo to draw.")
    columns = max(len(case.pictures) for case in cases)
    figure = Figure(figsize=(2.7 * columns, 2.75 * len(cases) + 0.45), dpi=150, layout="constrained", facecolor="white")
    for row, case in zip(figure.subplots(len(cases), columns, squeeze=False), cases, strict=True):
        for axes in row:
            axes.set_axis_off()
        for axes, (label, pixels) in zip(row, case.pictures, strict=False):
            axes.imshow(pixels)
            axes.set_title(label, fontsize=10, color=_SOFT)
        row[0].set_title(_heading(case), fontsize=10, color=_INK, parse_math=False)
    lines = [
        Line2D([], [], color=_hex(colour), linewidth=3, label=name, path_effects=_edged()) for name, colour in colours
    ]
    figure.legend(handles=lines, loc="outside upper center", ncols=len(lines), frameon=False, fontsize=11)
    return _png(figure)


def _heading(case: FigureCase) -> str:
    image = case.image
    before = "" if image.champion is None else f"{image.champion.dice:.3f} → "
    name = _drawable(image.stem)
    return f"{case.label}: {name}\nDice {before}{image.challenger.dice:.3f}"


def _slopes(axes: Any, report: GateReport) -> None:
    """Draw a line from the champion's to the challenger's Dice for each photo, and a bold line for the means."""
    from matplotlib.collections import LineCollection

    pairs = [(image.champion.dice, image.challenger.dice) for image in report.images if image.champion]
    colours = [_UP if after > before else _DOWN if after < before else _SAME for before, after in pairs]
    # Many lines overlap, so each gets fainter with their number; otherwise they hide the means.
    alpha = float(np.clip(15 / max(1, len(pairs)), 0.08, 0.55))
    lines = [((0, before), (1, after)) for before, after in pairs]
    axes.add_collection(LineCollection(lines, colors=colours, alpha=alpha, linewidths=1.2))
    for side, colour in ((0, _CHAMPION), (1, _CHALLENGER)):
        axes.scatter([side] * len(pairs), [pair[side] for pair in pairs], s=16, color=colour, alpha=alpha, zorder=3)
    before, after = report.dice.champion, report.dice.challenger
    axes.plot((0, 1), (before, after), color=_INK, linewidth=2.6, zorder=5)
    axes.scatter((0, 1), (before, after), s=90, color=(_CHAMPION, _CHALLENGER), edgecolor="white", zorder=6)
    axes.annotate(f"{before:.4f}", (0, before), (-11, 0), **_beside("right"))
    axes.annotate(f"{after:.4f}", (1, after), (11, 0), **_beside("left"))
    version = "" if report.champion is None or report.champion.version is None else f" {report.champion.version}"
    axes.set_xticks((0, 1), (f"champion\nversion{version}" if version else "champion", "challenger"))
    axes.set_xlim(-0.68, 1.68)
    axes.set_ylim(*_limits([score for pair in pairs for score in pair]))
    _style(axes, f"Dice of {len(pairs)} test photos, means bold")


def _changes(axes: Any, images: Sequence[ImageChange]) -> None:
    """A bar for each photo: the challenger's Dice less the champion's, in order."""
    differences = np.sort([image.difference or 0.0 for image in images])
    gained, lost = int((differences > 0).sum()), int((differences < 0).sum())
    colours = [_UP if value > 0 else _DOWN for value in differences]
    width = max(0.4, min(14.0, 300 / max(1, len(differences))))
    axes.vlines(np.arange(len(differences)), 0, differences, colors=colours, linewidth=width)
    axes.axhline(0, color=_INK, linewidth=0.8)
    axes.axhline(float(differences.mean()), color=_INK, linewidth=1.2, linestyle="--")
    axes.annotate(
        f"mean {differences.mean():+.4f}",
        (0, float(differences.mean())),
        (4, 4),
        textcoords="offset points",
        color=_INK,
    )
    axes.set_xlim(-0.8, len(differences) - 0.2)
    axes.set_xticks([])
    axes.set_ylabel("difference in Dice", color=_INK, fontsize=9)
    same = len(differences) - gained - lost
    _style(axes, f"{gained} got better, {lost} got worse" + (f", {same} stayed equal" if same else ""))


def _first(axes: Any, report: GateReport) -> None:
    scores = np.sort([image.challenger.dice for image in report.images])
    mean = report.dice.challenger
    axes.scatter(np.arange(len(scores)), scores, s=26, color=_CHALLENGER, zorder=3)
    axes.axhline(mean, color=_INK, linewidth=1.4, linestyle="--")
    axes.annotate(f"mean {mean:.4f}", (0, mean), (4, 5), textcoords="offset points", color=_INK)
    axes.set_xticks([])
    axes.set_ylabel("Dice", color=_INK)
    axes.set_ylim(*_limits([float(score) for score in scores]))
    _style(axes, f"Dice of {len(scores)} test photos; the first model has no champion to beat")


def _style(axes: Any, title: str) -> None:
    axes.set_title(title, color=_INK, fontsize=10, loc="left")
    axes.grid(axis="y", color=_GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_INK, length=0, labelsize=9)
    for name, spine in axes.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color(_GRID)


def _limits(scores: Sequence[float]) -> tuple[float, float]:
    """The axis from a little below the lowest score to just above 1."""
    return max(-0.03, min(scores) - 0.05), 1.03


def _beside(side: str) -> dict[str, Any]:
    return {
        "textcoords": "offset points",
        "ha": side,
        "va": "center",
        "fontsize": 10,
        "fontweight": "bold",
        "color": _INK,
    }


def _drawable(stem: str) -> str:
    """Shorten a file name to fit above a picture; a font may lack some of its signs, which is no reason to fail."""
    name = plain(stem)
    return name if len(name) <= 20 else f"{name[:17]}..."


def _edged() -> list[Any]:
    """A thin dark edge, so that a white line shows on white."""
    from matplotlib.patheffects import Normal, Stroke

    return [Stroke(linewidth=4.5, foreground="#57606a"), Normal()]


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _png(figure: Any) -> bytes:
    import warnings

    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()
