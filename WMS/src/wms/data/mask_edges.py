"""Masks with soft edges: grey values between black and the strip's colour, as JPEG and antialiasing leave them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MASK_THRESHOLD: Final = 127
"""A mask's pixel is strip if the value is larger than this."""

Grey = NDArray[np.uint8]
Picture = NDArray[np.uint8]
_ROWS: Final = 256  # looked at together
GREY: Final = (64, 191)
"""Lowest and highest value between black and white."""
_LEAST: Final = 16  # JPEG's artefacts around an edge are mostly darker
_MOST_ODD: Final = 0.01  # share of pixels off the ramp between black and a colour, from which it is no ramp
_CHROMA: Final = 64  # difference of channels from which a pixel counts as coloured; JPEG tints grey by less
_OFF_RAMP: Final = 0.35  # distance from the ramp, in lengths of the ramp
_BEYOND: Final = 1.5
_ON_EDGES: Final = 0.9  # share of the values in between that lie between black and the strip
_EDGE: Final = 4  # pixels that a soft edge is wide
_LEAST_SOFT: Final = 4  # distinct values, with black and the strip's; a single one in between is a class
_NOISY_FROM: Final = 16  # distinct values; the real JPEG masks have 28 and more
_MOST_FLAT: Final = 0.05  # share of values in between that lie in flat areas; the real JPEG masks have 0.0025 at most


@dataclass(frozen=True)
class SoftMask:
    """A soft mask cut at half: `strip` (H, W), and `grey`, the share of pixels that belong to neither side."""

    strip: NDArray[np.bool_]
    grey: float
    hides: str = ""
    """Why the mask reads as empty or nearly so although it marks something; else ""."""


def cut(picture: Picture, grey: Grey, *, may_have_colours: bool = True) -> SoftMask:
    """Cut a mask (H, W, 3), with the grey values (H, W), between black and white or between black and another colour.

    Colours decide only where the mask isn't black and white.
    """
    plain, coloured = _black_white(grey), may_have_colours and _mostly_coloured(picture)
    if not coloured and plain.grey <= _MOST_ODD and not plain.hides:
        return plain
    ramp = _ramp(picture)
    if ramp is None or ramp.grey > _MOST_ODD:
        odd = 0.0 if ramp is None else ramp.grey
        return SoftMask(plain.strip, max(plain.grey, odd) if coloured else plain.grey, plain.hides)
    return ramp


def is_soft(keys: NDArray[Any], black: NDArray[np.bool_], peak: Any, count: int, *, ordered: bool) -> bool:
    """Whether the values that are neither `black` (H, W) nor `peak` are soft edges or noise rather than classes.

    `count` is the number of distinct values, `ordered` tells whether most lie between black and the peak. Classes fill
    areas. Soft edges have no flat area and lie between black and the strip; noise, such as a JPEG's that is kept in a
    lossless file, has no flat area and many values.
    """
    strip = keys == peak
    between = ~(black | strip)
    if count < _LEAST_SOFT or not between.any() or float(_flat(keys)[between].mean()) > _MOST_FLAT:
        return False
    if count >= _NOISY_FROM:
        return True
    return ordered and float((_near(black) & _near(strip))[between].mean()) >= _ON_EDGES


def hidden(peak: int, faint: float, coverage: float) -> str:
    """The sentence on a mask whose marks count as black, with the remedy.

    `peak` is the highest grey value, `faint` and `coverage` are the shares of pixels (0..1) that are marked but count
    as black, and that count as white.
    """
    if coverage:
        return (
            f"would lose most of what it marks: {faint:.2%} of its pixels have values up to {MASK_THRESHOLD} and count "
            f"as black, {coverage:.2%} count as white; paint the strip white (255) and all else black"
        )
    shown = f"no value is above {MASK_THRESHOLD}, the highest is {peak}" if peak else "its marks have no grey value"
    return f"reads as empty, but isn't: {shown}; paint the strip white (255) and all else black"


def _black_white(grey: Grey) -> SoftMask:
    shares = np.bincount(grey.ravel(), minlength=256) / grey.size
    coverage, faint = float(shares[MASK_THRESHOLD + 1 :].sum()), float(shares[_LEAST : MASK_THRESHOLD + 1].sum())
    hides = shares[0] < 1 and (not coverage or faint > coverage)
    return SoftMask(
        grey > MASK_THRESHOLD,
        float(shares[GREY[0] : GREY[1] + 1].sum()),
        hidden(int(np.flatnonzero(shares)[-1]), faint, coverage) if hides else "",
    )


def _mostly_coloured(picture: Picture) -> bool:
    marked = coloured = 0
    for part in _parts(picture):
        red, green, blue = (part[..., channel] for channel in range(3))
        highest = np.maximum(np.maximum(red, green), blue)
        marked += _count(highest > _CHROMA)
        coloured += _count(highest - np.minimum(np.minimum(red, green), blue) > _CHROMA)
    return coloured > marked / 2


def _ramp(picture: Picture) -> SoftMask | None:
    """The mask cut at half of its most frequent colour; None without any colour, without black or with more
    dim marks than strip.
    """
    peak = _peak(picture)
    if peak is None:
        return None
    square, odd, faint, black, strips = float(peak @ peak), 0, 0, 0, []
    for part in _parts(picture):
        values = part.astype(np.float32)
        along = values @ (peak / square)  # 0 at black, 1 at the colour
        apart = sum((values[..., channel] - along * peak[channel]) ** 2 for channel in range(3))
        strip = along > 0.5
        odd += _count((apart > _OFF_RAMP**2 * square) | (along > _BEYOND) | ((along >= 0.25) & (along <= 0.75)))
        faint += _count((part >= _LEAST).any(axis=2) & ~strip)
        black += _count(along < 0.25)
        strips.append(strip)
    strip = np.concatenate(strips)
    if not black or faint > _count(strip):
        return None
    return SoftMask(strip, odd / strip.size)


def _peak(picture: Picture) -> NDArray[np.float32] | None:
    """The most frequent colour beside black, as float (3,), within 16 values a channel."""
    counts, sums = np.zeros(4096), np.zeros((3, 4096))
    for part in _parts(picture):
        high = (part >> 4).astype(np.uint16)
        bins = (high[..., 0] << 8 | high[..., 1] << 4 | high[..., 2]).ravel()
        marked = np.flatnonzero(bins)
        counts += np.bincount(bins[marked], minlength=4096)
        for channel in range(3):
            sums[channel] += np.bincount(bins[marked], part[..., channel].ravel()[marked], minlength=4096)
    counts[[1, 16, 17, 256, 257, 272, 273]] = 0  # a JPEG's noise on black
    found = int(counts.argmax())
    return (sums[:, found] / counts[found]).astype(np.float32) if counts[found] else None


def _parts(picture: Picture) -> Iterator[Picture]:
    """The picture in bands of rows, which bounds the memory of what is computed."""
    return (picture[top : top + _ROWS] for top in range(0, len(picture), _ROWS))


def _count(marked: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(marked))


def _flat(keys: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels that equal their four neighbours."""
    flat = np.ones(keys.shape, bool)
    across, down = keys[:, 1:] == keys[:, :-1], keys[1:] == keys[:-1]
    flat[:, 1:] &= across
    flat[:, :-1] &= across
    flat[1:] &= down
    flat[:-1] &= down
    return flat


def _near(marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels at most _EDGE away from a marked one, in either direction."""
    near = marked
    for axis in (0, 1):
        wide = near.copy()
        for step in range(1, _EDGE + 1):
            ahead, behind = (slice(step, None),), (slice(None, -step),)
            before = (slice(None),) * axis
            wide[before + ahead] |= near[before + behind]
            wide[before + behind] |= near[before + ahead]
        near = wide
    return near


def as_grey(keys: NDArray[Any]) -> NDArray[np.uint8]:
    """Numbers (H, W) of any size as a picture (H, W, 3) in which the largest is white; what is negative is black."""
    values = np.nan_to_num(keys.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    highest = values.max(initial=0)
    grey = np.clip(values / highest * 255 if highest > 0 else 0 * values, 0, 255).round().astype(np.uint8)
    return np.asarray(Image.fromarray(grey).convert("RGB"))
