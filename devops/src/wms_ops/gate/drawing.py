"""Pictures of a test photo with the outlines of truth, champion and challenger."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wms.config import RunConfig
from wms.data.pairs import read_pair
from wms.inference.overlay import Colour, Pixels, draw_outline
from wms.pictures import encoded
from wms.registry.card_records import PHOTOS_SHOWN, worst_photos
from wms.registry.gate_types import GateReport, ImageChange
from wms_ops.gate.evidence import Gathered
from wms_ops.gate.scoring import Mask, predicted_mask, true_mask

TRUTH: Final[Colour] = (255, 255, 255)
CHAMPION: Final[Colour] = (255, 145, 0)
CHALLENGER: Final[Colour] = (0, 190, 255)
SIDE: Final = 460
"""Pixels of a picture's longer side."""

_GAP: Final = 12  # pixels
_MARGIN: Final = 0.35  # share of the marked area's size, around a detail


def draw_case(image: ImageChange, gathered: Gathered, config: RunConfig) -> list[tuple[str, Pixels]]:
    """Return the photo with all outlines, and for each model a detail beside the truth, as (label, pixels).

    The photo is decoded and predicted again. Pixels are (H, W, 3) uint8. Raises the errors of `read_pair`.
    """
    (pair,) = (pair for item, pair in gathered.files.items() if item.image_sha256 == image.image_sha256)
    photo, mask = read_pair(pair, config.data)
    grid = config.evaluation.grid
    models = [("Champion", CHAMPION, gathered.champion), ("Challenger", CHALLENGER, gathered.challenger)]
    marked = [
        (name, colour, predicted_mask(model.predictor, photo, grid))
        for name, colour, model in models
        if model is not None
    ]
    truth = true_mask(mask, grid)
    everything = [("Truth", TRUTH, truth), *marked]
    box = _around(np.logical_or.reduce([area for _, _, area in everything]))
    details = [
        (f"{name} beside the truth", _draw(photo, [("Truth", TRUTH, truth), (name, colour, area)], box))
        for name, colour, area in marked
    ]
    return [("The whole photo", _draw(photo, everything, (0, 0, 1, 1))), *details]


def draw_worst(report: GateReport, gathered: Gathered, config: RunConfig) -> bytes:
    """Draw the photos on which the challenger is worst, a numbered row each, without the champion; a JPEG file's bytes.

    The photos are decoded and predicted again. Raises the errors of `read_pair`.
    """
    alone = replace(gathered, champion=None)
    shown = worst_photos(report)[:PHOTOS_SHOWN]
    rows = [[pixels for _, pixels in draw_case(image, alone, config)] for image in shown]
    sheet = Image.new("RGB", (2 * (SIDE + _GAP), len(rows) * (SIDE + _GAP)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(24)
    for row, pictures in enumerate(rows):
        top = row * (SIDE + _GAP)
        for column, pixels in enumerate(pictures):
            sheet.paste(Image.fromarray(pixels), (column * (SIDE + _GAP), top))
        draw.text((10, top + 8), str(row + 1), fill="white", font=font, stroke_width=3, stroke_fill="black")
    return encoded(sheet, quality=85)


def _around(area: Mask) -> tuple[float, float, float, float]:
    """Return top, left, bottom, right of a mask with a margin, as shares of the photo; all of an unmarked photo."""
    if not area.any():
        return 0.0, 0.0, 1.0, 1.0
    size = len(area)
    rows, columns = np.flatnonzero(area.any(axis=1)), np.flatnonzero(area.any(axis=0))
    margin = _MARGIN * max(float(np.ptp(rows)), float(np.ptp(columns)), size / 20)
    top, left = (max(0.0, float(ends[0] - margin) / size) for ends in (rows, columns))
    bottom, right = (min(1.0, float(ends[-1] + 1 + margin) / size) for ends in (rows, columns))
    return top, left, bottom, right


def _draw(photo: Pixels, areas: list[tuple[str, Colour, Mask]], box: tuple[float, float, float, float]) -> Pixels:
    """Return the photo's part `box` with each area's outline."""
    height, width = photo.shape[:2]
    top, left, bottom, right = box
    rows = slice(int(top * height), max(int(top * height) + 1, round(bottom * height)))
    columns = slice(int(left * width), max(int(left * width) + 1, round(right * width)))
    part = Image.fromarray(np.ascontiguousarray(photo[rows, columns]))
    scale = SIDE / max(part.size)
    size = (max(1, round(part.width * scale)), max(1, round(part.height * scale)))
    drawn: Pixels = np.asarray(part.resize(size, Image.Resampling.BILINEAR))
    for _, colour, area in areas:
        whole = Image.fromarray(area.astype(np.uint8) * 255)
        # The mask has its own grid, so the box is scaled to its size, not to the photo's.
        edges = (left * whole.width, top * whole.height, right * whole.width, bottom * whole.height)
        shown = np.asarray(whole.resize(size, Image.Resampling.BILINEAR, box=edges)) > 127
        drawn = draw_outline(drawn, shown, colour, width=2)
    return drawn
