"""The pictures of a run's report: learning curves and samples, as PNG or JPEG bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from wms.data.masks import black_white
from wms.inference.overlay import Mask, Pixels, overlay
from wms.pictures import data_uri, draw, encoded, plot_line

THUMBNAIL: Final = 420  # pixels of the longer side: sharp on a phone, and 5 rows stay below a megabyte
CURVES: Final = (("loss", "Loss"), ("dice", "Dice"), ("iou", "IoU"))
LIGHT: Final = {"paper": "#ffffff", "ink": "#1b1f24", "grid": "#d8dee4", "train": "#b35900", "val": "#0550ae"}
DARK: Final = {"paper": "#161b22", "ink": "#e6edf3", "grid": "#3d444d", "train": "#ffa657", "val": "#79c0ff"}
LINES: Final = (("train", "training", "--"), ("val", "validation", "-"))


@dataclass(frozen=True)
class ImageCase:
    """A test photo (H, W, 3) uint8 with the true and the predicted mask (H, W) bool and the agreement of both."""

    stem: str
    image: Pixels
    truth: Mask
    prediction: Mask
    dice: float
    iou: float


def _thumbnail(pixels: NDArray[Any]) -> Image.Image:
    """A small RGB picture of a photo, or of a mask drawn black and white."""
    values = black_white(pixels) if pixels.dtype == np.bool_ else pixels
    picture = Image.fromarray(values).convert("RGB")
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    return picture


def _panels(case: ImageCase) -> list[tuple[str, Image.Image]]:
    both = overlay(case.image, case.truth, case.prediction)
    panels = (("Photo", case.image), ("Truth", case.truth), ("Prediction", case.prediction), ("Overlay", both))
    return [(label, _thumbnail(pixels)) for label, pixels in panels]


def pictures(case: ImageCase) -> list[tuple[str, str]]:
    """Photo, truth, prediction and overlay of a case as pairs of label and data URI."""
    return [(label, data_uri(encoded(picture, quality=85))) for label, picture in _panels(case)]


def draw_curves(curves: pl.DataFrame, best_epoch: int | None, theme: Mapping[str, str]) -> bytes:
    """Loss, Dice and IoU against the epoch as a PNG file's bytes.

    `curves` has the columns epoch, phase ("train", "val"), metric and value, sorted by epoch; `theme` is LIGHT or DARK.
    A metric without values gets an empty field with a note.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.4), dpi=130, layout="constrained")
    for axes, (metric, label) in zip(figure.subplots(1, len(CURVES)), CURVES, strict=True):
        _style(axes, label, theme)
        part = curves.filter(pl.col("metric") == metric)
        if part.is_empty():
            axes.text(0.5, 0.5, "nothing recorded", color=theme["ink"], ha="center", transform=axes.transAxes)
            continue
        for phase, name, dash in LINES:
            line = part.filter(pl.col("phase") == phase)
            if not line.is_empty():
                epochs, values = line["epoch"].to_list(), line["value"].to_list()
                plot_line(axes, epochs, values, dash, color=theme[phase], label=name, linewidth=1.8)
        if best_epoch is not None:
            axes.axvline(best_epoch, color=theme["ink"], linestyle=":", label=f"best epoch: {best_epoch}")
        legend = axes.legend(frameon=False, fontsize=8)
        for text in legend.get_texts():
            text.set_color(theme["ink"])
    return draw(figure, theme["paper"])


def _style(axes: Any, label: str, theme: Mapping[str, str]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(label, color=theme["ink"])
    axes.set_xlabel("Epoch", color=theme["ink"])
    axes.set_facecolor(theme["paper"])
    axes.grid(color=theme["grid"], linewidth=0.6)
    axes.tick_params(colors=theme["ink"])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for spine in axes.spines.values():
        spine.set_color(theme["grid"])
    if label != "Loss":
        axes.set_ylim(-0.02, 1.02)


def draw_samples(shown: Sequence[tuple[str, ImageCase]]) -> bytes:
    """A row of pictures per labelled case as a PNG file's bytes; without cases, a picture with a sentence."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, max(1.0, 2.9 * len(shown))), dpi=100, layout="constrained")
    if not shown:
        figure.text(0.5, 0.5, "This run has no test photos.", ha="center", va="center")
        return draw(figure)
    for row, (label, case) in zip(figure.subplots(len(shown), 4, squeeze=False), shown, strict=True):
        for axes, (name, picture) in zip(row, _panels(case), strict=True):
            axes.imshow(np.asarray(picture))
            axes.set_title(name, fontsize=9)
            axes.set_xticks([])
            axes.set_yticks([])
        # a file name may hold a dollar sign, which isn't a formula, and bytes that no font can draw
        name = case.stem[:28].encode(errors="replace").decode()
        row[0].set_ylabel(f"{label}\n{name}\nDice {case.dice:.3f}", fontsize=8, parse_math=False)
    return draw(figure)
