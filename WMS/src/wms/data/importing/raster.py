"""Shapes as pixels: polygons, ellipses, bitmaps and the run lengths of COCO, CVAT and Label Studio.

Run lengths are decoded here and not by pycocotools, whose C code trusts the lengths that it is given.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wms.data.images import DEFAULT_MEGAPIXELS, decode
from wms.data.importing.records import Canvas, LabelFault, brief

Ring = NDArray[np.float64]
"""The corners of a closed outline, shape (corners, 2), as x and y in pixels; pixel 0 covers 0 to 1."""

_MOST_CROSSINGS: Final = 50_000_000  # of an outline's edges with rows of pixels: more would take minutes
_OUTSIDE: Final = 0.01  # of a side, by which tools let a corner leave the photo
_ELLIPSE_CORNERS: Final = 180


def ring(points: Iterable[Any], least: int = 3) -> Ring:
    """An outline from pairs of x and y. Raises LabelFault for fewer corners than `least`, and for NaN."""
    corners = np.array([(float(x), float(y)) for x, y in points], dtype=np.float64).reshape(-1, 2)
    if len(corners) < least:
        raise LabelFault(f"has an outline of {len(corners)} corners, and a polygon needs {least}")
    if not np.isfinite(corners).all():
        raise LabelFault("has a corner that is no number (NaN or infinite)")
    return corners


def flat_ring(values: Sequence[Any]) -> Ring:
    """An outline from x, y, x, y, ... Raises LabelFault as `ring`, and for an odd number of values."""
    if len(values) % 2:
        raise LabelFault(f"has an outline of {len(values)} values, which aren't pairs of x and y")
    return ring(zip(values[::2], values[1::2], strict=True))


def box(left: float, top: float, right: float, bottom: float, turn: float = 0.0) -> Ring:
    """A rectangle as an outline, turned by `turn` degrees clockwise around its middle."""
    corners = ring([(left, top), (right, top), (right, bottom), (left, bottom)])
    return rotated(corners, turn, ((left + right) / 2, (top + bottom) / 2))


def ellipse(x: float, y: float, across: float, down: float, turn: float = 0.0) -> Ring:
    """An ellipse around (x, y) with the two radii, as an outline."""
    angles = np.linspace(0, 2 * math.pi, _ELLIPSE_CORNERS, endpoint=False)
    corners = ring(np.column_stack((x + across * np.cos(angles), y + down * np.sin(angles))))
    return rotated(corners, turn, (x, y))


def rotated(corners: Ring, degrees: float, around: tuple[float, float]) -> Ring:
    """Corners turned clockwise, as seen on the photo."""
    angle = math.radians(degrees)
    matrix = np.array(((math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))))
    return np.asarray((corners - around) @ matrix + around, dtype=np.float64)


def paint_rings(rings: Sequence[Ring], canvas: Canvas) -> None:
    """Mark the pixels whose centre lies inside an odd number of the outlines, so that an inner outline is a hole.

    Pillow's polygons also mark each pixel that the outline touches, which makes a strip of 40 rows 41 high; this is the
    usual scan by rows instead. Raises LabelFault for corners outside of the canvas.
    """
    height, width = canvas.shape
    for corners in rings:
        _refuse_outside(corners, width, height)
    start = np.concatenate(rings)
    end = np.concatenate([np.roll(corners, -1, axis=0) for corners in rings])
    upper, lower = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first = np.clip(np.ceil(upper - 0.5), 0, height).astype(np.int64)
    counts = np.clip(np.ceil(lower - 0.5), 0, height).astype(np.int64) - first
    if (total := int(counts.sum())) > _MOST_CROSSINGS:
        raise LabelFault("has an outline with too many corners")
    edges = np.repeat(np.arange(len(start)), counts)
    rows = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts) + first[edges]
    (x0, y0), (x1, y1) = start[edges].T, end[edges].T
    crossings = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
    columns = np.clip(np.ceil(crossings - 0.5), 0, width).astype(np.int64)
    toggled = np.zeros((height, width + 1), dtype=np.bool_)
    np.logical_xor.at(toggled, (rows, columns), True)
    canvas |= np.logical_xor.accumulate(toggled, axis=1)[:, :width]


def _refuse_outside(corners: Ring, width: int, height: int) -> None:
    slack = np.maximum(2.0, _OUTSIDE * np.array((width, height)))
    outside = ((corners < -slack) | (corners > np.array((width, height)) + slack)).any(axis=1)
    if outside.any():
        x, y = corners[outside.argmax()]
        raise LabelFault(
            f"has a corner at ({brief(float(x))}, {brief(float(y))}), outside of its {width} x {height} pixels"
        )


def paint_bitmap(bitmap: Canvas, left: int, top: int, canvas: Canvas) -> None:
    """Mark the pixels of a smaller bitmap whose upper left corner is given. Raises LabelFault if parts lie outside."""
    height, width = bitmap.shape
    if left < 0 or top < 0 or left + width > canvas.shape[1] or top + height > canvas.shape[0]:
        raise LabelFault(
            f"has a mask of {width} x {height} pixels at ({brief(left)}, {brief(top)}), which isn't inside its "
            f"{canvas.shape[1]} x {canvas.shape[0]} pixels"
        )
    canvas[top : top + height, left : left + width] |= bitmap


def embedded_bitmap(text: str) -> Canvas:
    """The pixels that a PNG in base64 marks; see `png_bitmap`."""
    return png_bitmap(unpacked(text))


def unpacked(text: str) -> bytes:
    """The bytes of a text in base64. Raises LabelFault."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise LabelFault(f"has a picture that isn't base64 ({error})") from error


def png_bitmap(content: bytes, above: int = 0) -> Canvas:
    """The pixels that a mask inside of an export marks: opaque ones, or without alpha those of a value `above` that.

    Raises the errors of `wms.data.images.read_image`.
    """
    kept: list[Image.Image] = []
    shown = decode(content, "a mask in the export", DEFAULT_MEGAPIXELS, look=lambda image: kept.append(image.copy()))
    if "A" in kept[0].getbands():
        return np.asarray(kept[0].getchannel("A")) > 127
    return np.asarray((np.asarray(shown) > above).any(axis=2))


def paint_runs(counts: Sequence[Any], by_columns: bool, height: int, width: int) -> Canvas:
    """A bitmap from run lengths: unmarked, marked, unmarked, ... Raises LabelFault if they don't fill it exactly."""
    try:
        lengths = [int(count) for count in counts]
    except (TypeError, ValueError, OverflowError) as error:
        raise LabelFault("has run lengths that aren't whole numbers") from error
    if any(isinstance(count, float) and count != length for count, length in zip(counts, lengths, strict=True)):
        raise LabelFault("has run lengths that aren't whole numbers")
    if (least := min(lengths, default=0)) < 0:
        raise LabelFault(f"has a run length below 0, {brief(least)}")
    if sum(lengths) != height * width:
        raise LabelFault(
            f"has run lengths for {brief(sum(lengths))} pixels, but a mask of {width} x {height} has {width * height}"
        )
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return flat.reshape(width, height).T if by_columns else flat.reshape(height, width)


def coco_counts(text: str) -> list[int]:
    """The run lengths of COCO's compressed text: five bits a character, from the third on as differences.

    The format is that of `rleToString` in pycocotools. Raises LabelFault for other characters and for a cut text.
    """
    counts: list[int] = []
    value = shift = 0
    for char in text:
        code = ord(char) - 48
        if not 0 <= code < 64 or shift > 30:
            raise LabelFault("has a compressed mask that isn't COCO's run lengths")
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            value -= (code & 16) << (shift - 4)  # the last five bits hold the sign
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise LabelFault("has a compressed mask that is cut off")
    return counts


def brush_bitmap(values: Sequence[Any], width: int, height: int) -> Canvas:
    """The pixels that Label Studio's brush marks: opaque ones of an RGBA picture, packed as thi.ng/rle-pack does.

    Header: 32 bits length, 5 bits word size - 1, four times 4 bits size of a length - 1. Then, to the end, a bit (a run
    of one value or literal values), 2 bits that choose a size, the length - 1, the values. Raises LabelFault.
    """
    try:
        bits = _Bits(bytes(list(values)))  # of a number, bytes() would take that much memory
    except (TypeError, ValueError) as error:
        raise LabelFault("has a brush mask that isn't a list of bytes") from error
    total, word = bits.take(32), bits.take(5) + 1
    sizes = [bits.take(4) + 1 for _ in range(4)]
    if total != width * height * 4 or word != 8:
        raise LabelFault(f"has a brush mask of {total} values, but {width} x {height} pixels need {width * height * 4}")
    picture, at = np.zeros(total, dtype=np.uint8), 0
    while at < total:
        is_run = bits.take(1)
        end = at + 1 + bits.take(sizes[bits.take(2)])
        if end > total:
            raise LabelFault("has a brush mask that is longer than its picture")
        picture[at:end] = bits.take(word) if is_run else [bits.take(word) for _ in range(end - at)]
        at = end
    return np.asarray(picture.reshape(height, width, 4)[:, :, 3] > 127)


class _Bits:
    """Numbers of any width, read one after the other from bytes."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def take(self, width: int) -> int:
        """The next number. Raises LabelFault at the end."""
        start, self.at = self.at, self.at + width
        if self.at > len(self.content) * 8:
            raise LabelFault("has a brush mask that is cut off")
        piece = int.from_bytes(self.content[start // 8 : (self.at + 7) // 8], "big")
        return (piece >> (-self.at % 8)) & ((1 << width) - 1)
