"""Decodes masks; no other module does: training, the data check, the gate and the merge read a mask alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wms.data.images import DEFAULT_MEGAPIXELS, decode, read_bytes
from wms.errors import EmptyMaskError, GreyMaskError

MASK_THRESHOLD: Final = 127
"""A mask's pixel is strip if the value is larger than this."""

_GREY_LOW, _GREY_HIGH = 64, 191
_LEAST_IN_JPEG: Final = 16  # JPEG's artefacts around an edge are mostly darker


def read_mask(
    path: Path, *, max_megapixels: float = DEFAULT_MEGAPIXELS, max_grey_fraction: float = 0.01
) -> NDArray[np.uint8]:
    """Decode a mask: upright, uint8, shape (height, width), every value 0 or 255.

    The soft edges that JPEG leaves are cut at 127. Raises GreyMaskError if more than `max_grey_fraction` of all pixels
    lie between black and white (64..191). Raises EmptyMaskError if the mask reads as empty although the file marks
    pixels (values 0 and 1, a dark colour, a strip in the alpha channel), or if most marks would be lost (a dark area in
    a white outline). Other errors as `read_image`.
    """
    mask = decode_mask(read_bytes(path), str(path), max_megapixels=max_megapixels)
    grey = mask.grey
    share = float(np.mean((grey >= _GREY_LOW) & (grey <= _GREY_HIGH)))
    if share > max_grey_fraction:
        raise GreyMaskError(
            f"{path} isn't a black-and-white mask: {share:.1%} of its pixels are grey "
            f"(at most {max_grey_fraction:.1%} may be); paint the strip white and all else black."
        )
    white = grey > MASK_THRESHOLD
    coverage = float(white.mean())
    if mask.marks_something and (not coverage or mask.faint > coverage):
        raise EmptyMaskError(f"{path} {reads_as_empty(int(grey.max()), mask.faint, coverage)}")
    return black_white(white)


@dataclass(frozen=True)
class DecodedMask:
    """A mask before the threshold: `grey` values, upright, uint8 (height, width).

    `marks_something` is True if the file marks any pixel, even where the grey values don't show the mark: 16-bit labels
    of 1, a strip that only the alpha channel draws, a palette whose colours are all black. `faint` is the share of
    pixels (0..1) that are marked but count as black; JPEG's artefacts around an edge aren't counted.
    """

    grey: NDArray[np.uint8]
    marks_something: bool
    faint: float


def decode_mask(content: bytes, name: str, *, max_megapixels: float = DEFAULT_MEGAPIXELS) -> DecodedMask:
    """Decode a mask without the threshold. Raises the errors of `read_image`."""
    stored: list[Image.Image] = []
    grey = np.asarray(decode(content, name, max_megapixels, look=stored.append).convert("L"))
    (image,) = stored
    least = _LEAST_IN_JPEG if image.format in ("JPEG", "MPO", "WEBP") else 1
    faint = float(np.mean((grey >= least) & (grey <= MASK_THRESHOLD)))
    return DecodedMask(grey, bool(grey.any()) or not _is_even(image), faint)


def reads_as_empty(peak: int, faint: float, coverage: float) -> str:
    """The sentence on a mask whose marks count as black, with the remedy.

    `peak` is the highest grey value, `faint` and `coverage` are the shares of pixels (0..1) that are marked but count
    as black, and that count as white.
    """
    if coverage:
        return (
            f"would lose most of what it marks: {faint:.2%} of its pixels have values up to {MASK_THRESHOLD} and count "
            f"as black, {coverage:.2%} count as white; paint the strip white (255) and all else black."
        )
    shown = f"no value is above {MASK_THRESHOLD}, the highest is {peak}" if peak else "its marks have no grey value"
    what = f"reads as empty, but isn't: {shown}"
    if peak == 1:
        return f"{what}; let `wms data check --fix` write 255 for 1, or paint the strip white (255) and all else black."
    return f"{what}; paint the strip white (255) and all else black."


def resize_mask(mask: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize (H, W) to (size, size) by area: values between 0 and 255 are the strip's share of a pixel."""
    return np.asarray(Image.fromarray(mask).resize((size, size), Image.Resampling.BOX))


def black_white(marked: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A mask (H, W) bool as grey values: 255 where marked, else 0."""
    return np.where(marked, np.uint8(255), np.uint8(0))


def _is_even(image: Image.Image) -> bool:
    """Whether all stored pixels are equal; if a stored 0 means black, whether all are 0."""
    if image.mode == "F" or image.mode.startswith("I;16"):  # Pillow can't tell the extremes of all of these
        return not np.asarray(image).any()  # NaN counts as a mark
    found = image.getextrema()
    bands = found if isinstance(found[0], tuple) else (found,)
    zero_is_black = image.mode in ("1", "L", "RGB", "I")
    return all(low == high and not (zero_is_black and high) for low, high in bands)
