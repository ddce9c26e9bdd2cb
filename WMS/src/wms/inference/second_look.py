"""The second look: predicts the strip again in an enlarged window that the first look found.

The strip covers about 2 % of a photo. At the side that a network can afford, the strip is a few pixels high, and its
mask's edge can't be finer than those pixels. So the same network looks twice: at the whole photo, then at a window
around the strip found, with the same number of pixels. Inside the window both looks count alike: the first knows the
surroundings, the second the edges. Training, the gate and serving share these functions, which depend neither on
torch nor on ONNX Runtime.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wms.data.images import bands, to_input
from wms.metrics import is_strip_logit

Floats = NDArray[np.float32]

SMALLEST: Final = 0.15
"""A window's least share of a side: a smaller window shows no more detail."""

_CELLS: Final = 32
"""Cells along a side. Areas with at most one cell between them count as one strip, which a glare may cut in two."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Box:
    """A window in a photo, in shares of its sides: square if the photo is resized to a square."""

    left: float
    top: float
    side: float

    def pixels(self, picture: NDArray[np.uint8]) -> tuple[float, float, float, float]:
        """The window's left, top, right and bottom in pixels of a picture (H, W, 3), never beyond it by rounding."""
        height, width = picture.shape[:2]
        right, bottom = min((self.left + self.side) * width, width), min((self.top + self.side) * height, height)
        return self.left * width, self.top * height, right, bottom


@dataclass(frozen=True)
class Looked:
    """A network's logits for a photo: (S, S) of the whole and, after a second look, those of `box`."""

    first: Floats
    box: Box | None = None
    second: Floats | None = None

    def together(self, enlarged: Floats, *, out: Floats | None = None) -> Floats:
        """Combine both looks: the second look's share is added to the first, which the caller enlarged to (H, W).

        `out` may be `enlarged`, which then changes.
        """
        return enlarged if self.box is None or self.second is None else blend(enlarged, self.second, self.box, out=out)


def find_box(logits: Floats, *, threshold: float, fill: float) -> Box | None:
    """Find the window of the second look from logits (S, S) of the whole photo; None if a second look is useless.

    The window is centred on the area with the most probability; that area's longer side takes the share `fill` of the
    window's. None if no pixel's probability exceeds `threshold`, or the window would be the whole photo.
    """
    size = logits.shape[-1]
    found: Mask = is_strip_logit(logits, threshold)
    if not found.any():
        return None
    rows, columns = np.nonzero(one_strip(found, sigmoid(logits)))
    spans = [(int(axis.min()) / size, (int(axis.max()) + 1) / size) for axis in (columns, rows)]
    side = max(max(end - start for start, end in spans) / fill, SMALLEST)
    if side >= 1:
        return None
    # A strip near the photo's edge moves the window inwards, so the strip isn't in its centre.
    left, top = (min(max((start + end - side) / 2, 0.0), 1 - side) for start, end in spans)
    return Box(left, top, side)


def one_strip(found: Mask, probability: Floats) -> Mask:
    """Reduce a mask (H, W) to the area with the most probability (H, W) in sum: (H, W) bool.

    A meter has a single reading strip; similar areas, such as a red field of the dial, are left out.
    """
    rows, columns = (np.arange(side) * _CELLS // side for side in found.shape)
    weight = np.zeros((_CELLS, _CELLS))
    # Row of cells by row of cells: the places of all pixels together would take eight times the probability's memory.
    for row in range(_CELLS):
        within = slice(*np.searchsorted(rows, (row, row + 1)))
        at = np.nonzero(found[within])
        weight[row] = np.bincount(columns[at[1]], probability[within][at], _CELLS)
    kept: Mask = _heaviest(weight)[np.ix_(rows, columns)]
    kept &= found
    return kept


def sigmoid(logits: Floats, *, out: Floats | None = None) -> Floats:
    """Each logit's probability, float32, of the same shape; `out` may be `logits`, which then change."""
    # Beyond 80 exp overflows in float32, and the result is 0 or 1 to the last digit anyway.
    values = np.clip(logits, -80.0, 80.0, out=out).astype(np.float32, copy=False)
    np.negative(values, out=values)
    np.exp(values, out=values)
    values += 1.0
    return np.reciprocal(values, out=values)


def window(detail: NDArray[np.uint8], box: Box, size: int) -> Floats:
    """The second look's input: a photo resized to (D, D, 3) uint8 -> (1, 3, size, size) float32 in 0..1."""
    return to_input(detail, size, window=box.pixels(detail))


def blend(whole: Floats, second: Floats, box: Box, *, out: Floats | None = None) -> Floats:
    """Logits (H, W) of the whole photo; inside `box` their mean with the second look's, (S, S), enlarged bilinearly.

    `out` may be `whole`, which then changes; without `out` the result is a copy.
    """
    height, width = whole.shape
    top, bottom = math.ceil(box.top * height), math.floor((box.top + box.side) * height)
    left, right = math.ceil(box.left * width), math.floor((box.left + box.side) * width)
    if bottom <= top or right <= left:
        return whole
    # The photo's pixels inside the window, in the second look's own: so no edge moves by a fraction of a pixel.
    size = second.shape[-1]
    edges = (
        (left / width - box.left) / box.side,
        (top / height - box.top) / box.side,
        (right / width - box.left) / box.side,
        (bottom / height - box.top) / box.side,
    )
    x0, y0, x1, y1 = (min(max(edge * size, 0.0), float(size)) for edge in edges)
    picture = Image.fromarray(np.ascontiguousarray(second))
    enlarged = picture.resize((right - left, bottom - top), Image.Resampling.BILINEAR, box=(x0, y0, x1, y1))
    blended = whole.copy() if out is None else out
    for above, band in bands(enlarged):
        blended[top + above : top + above + band.height, left:right] += np.asarray(band)
    blended[top:bottom, left:right] /= 2
    return blended


def _heaviest(weight: NDArray[np.float64]) -> Mask:
    """The cells of the area with the largest sum of weights: (N, N) bool."""
    best, most = np.zeros(weight.shape, dtype=bool), 0.0
    left = {(int(row), int(column)) for row, column in np.argwhere(weight > 0)}
    while left:
        area, edge = np.zeros(weight.shape, dtype=bool), [left.pop()]
        while edge:
            row, column = edge.pop()
            area[row, column] = True
            # Two cells in each direction, so that a single empty cell doesn't separate areas (see _CELLS).
            near = {(row + down, column + right) for down in range(-2, 3) for right in range(-2, 3)} & left
            left -= near
            edge += near
        if weight[area].sum() > most:
            best, most = area, float(weight[area].sum())
    return best
