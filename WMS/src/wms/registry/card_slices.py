"""Thirds of a gate's test photos, by resolution and by the strip's share, and the figure that shows them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import fsum
from typing import Final, Literal

from PIL import Image, ImageDraw, ImageFont

from wms.pictures import encoded
from wms.registry.gate_types import GateReport, ImageChange, MetricChange, Slice

_THIRDS: Final = 3
_ROW, _LEFT, _BAR, _SIZE = 34, 330, 420, 15  # pixels
_INK, _SOFT, _WORST, _OTHER = "#1b1f24", "#d8dee4", "#cf222e", "#0969da"


def thirds(report: GateReport) -> tuple[Slice, ...]:
    """Split the test photos into thirds by each key, and score the new model on each; the worst third comes first.

    Empty if a third would be a single photo. The differences have no interval.
    """
    keys: dict[Literal["resolution", "coverage"], Callable[[ImageChange], float]] = {
        "resolution": lambda image: image.width * image.height / 1e6,
        "coverage": lambda image: image.coverage,
    }
    if len(report.images) < 2 * _THIRDS:
        return ()
    found = []
    for by, key in keys.items():
        ranked = sorted(report.images, key=lambda image: (key(image), image.image_sha256))
        ends = [round(len(ranked) * part / _THIRDS) for part in range(_THIRDS + 1)]
        for start, end in pairwise(ends):
            members = ranked[start:end]
            lowest, highest = key(members[0]), key(members[-1])
            found.append(Slice(by=by, lowest=lowest, highest=highest, images=len(members), dice=_dice(members)))
    return tuple(sorted(found, key=lambda part: part.dice.challenger))


def draw_slices(parts: Sequence[Slice]) -> bytes:
    """Draw a bar from 0 to 1 for each third's mean Dice, the worst in red; a PNG file's bytes."""
    image = Image.new("RGB", (_LEFT + _BAR + 90, _ROW * len(parts) + 12), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(_SIZE)
    for row, part in enumerate(parts):
        top = 6 + row * _ROW
        draw.text((8, top + 7), part.range, fill=_INK, font=font)
        draw.rectangle((_LEFT, top + 4, _LEFT + _BAR, top + _ROW - 6), fill=_SOFT)
        right = _LEFT + round(_BAR * part.dice.challenger)
        draw.rectangle((_LEFT, top + 4, right, top + _ROW - 6), fill=_WORST if row == 0 else _OTHER)
        draw.text((_LEFT + _BAR + 10, top + 7), f"{part.dice.challenger:.4f}", fill=_INK, font=font)
    return encoded(image, "PNG")


def _dice(members: Sequence[ImageChange]) -> MetricChange:
    now = fsum(image.challenger.dice for image in members) / len(members)
    old = [image.champion.dice for image in members if image.champion]
    before = fsum(old) / len(members) if len(old) == len(members) else 0.0
    return MetricChange(champion=before, challenger=now, difference=now - before)
