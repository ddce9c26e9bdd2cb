"""Pictures that show a mask on its photo; numpy only, shared by reports and predictions."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from wms.errors import SizeMismatchError

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Colour = tuple[int, int, int]

BOTH: Final[Colour] = (46, 204, 64)
MISSED: Final[Colour] = (255, 65, 54)
TOO_MUCH: Final[Colour] = (40, 120, 255)
OPACITY: Final = 0.6


def overlay(image: Pixels, truth: Mask, prediction: Mask) -> Pixels:
    """Tint a photo by the agreement of truth and prediction: a new array like `image`, which stays unchanged.

    `image` is (H, W, 3) uint8 RGB, both masks are (H, W) bool. Green: both are true; red: missed by the prediction;
    blue: marked wrongly. Raises SizeMismatchError if the shapes differ.

    >>> photo, truth = np.zeros((1, 1, 3), np.uint8), np.ones((1, 1), bool)
    >>> overlay(photo, truth, truth)[0, 0].tolist()
    [28, 122, 38]
    """
    _check(image, truth)
    _check(image, prediction)
    tinted = image.copy()
    for region, colour in ((truth & prediction, BOTH), (truth & ~prediction, MISSED), (prediction & ~truth, TOO_MUCH)):
        blended = (1 - OPACITY) * image[region] + OPACITY * np.array(colour)
        tinted[region] = np.rint(blended).astype(np.uint8)
    return tinted


def draw_outline(image: Pixels, mask: Mask, colour: Colour = BOTH, *, width: int | None = None) -> Pixels:
    """Draw the inner border of a mask on a photo: a new array like `image`, which stays unchanged.

    `image` is (H, W, 3) uint8 RGB, `mask` (H, W) bool, `colour` RGB in 0..255, `width` in pixels. By default the
    width grows with the photo, so that the line is visible at every size. Raises SizeMismatchError if the shapes
    differ, ValueError for a width below 1.
    """
    _check(image, mask)
    thickness = max(1, round(max(mask.shape, default=0) / 250)) if width is None else width
    if thickness < 1:
        raise ValueError(f"A line can't be {thickness} pixels wide; use 1 or more.")
    drawn = image.copy()
    drawn[mask & ~_eroded(mask, thickness)] = colour
    return drawn


def _eroded(mask: Mask, by: int) -> Mask:
    """The pixels surrounded by mask within `by` pixels; beyond the photo's edge nothing is mask."""
    from scipy.ndimage import minimum_filter

    return np.asarray(minimum_filter(mask, 2 * by + 1, mode="constant", cval=0), dtype=np.bool_)


def _check(image: Pixels, mask: Mask) -> None:
    if image.ndim != 3 or image.shape[2] != 3:
        raise SizeMismatchError(f"A photo has the shape (height, width, 3), but this one has {image.shape}.")
    if mask.shape != image.shape[:2]:
        raise SizeMismatchError(
            f"The mask is {mask.shape} but the photo {image.shape[:2]}, height by width; resize the mask."
        )
