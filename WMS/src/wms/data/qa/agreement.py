"""Estimates from the pixels, without a model, whether a mask was drawn on this photo.

Over a real strip, the mask's inside holds more texture (digits) than most other areas of the photo, and a small shift
of the mask loses the edges along the outline. Both are measured on small pictures; `wms data calibrate` prints how
often the result is right.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wms.data.masks import MASK_THRESHOLD, black_white

Floats = NDArray[np.float32]

SIDE: Final = 256
"""Pixels of the short side at which photo and mask are compared."""
_LARGEST_GRADIENT: Final = 60.0  # grey values over two pixels; without the cap a single glaring edge would decide
_SHIFT_STEP: Final = 4  # pixels between the positions at which the mask is tried
_AWAY: Final = (9, 12)  # pixels: farther than an outline's own blur, nearer than a strip's height
_MIN_BAND: Final = 10  # pixels of outline below which nothing can be said
# Weights of a logistic regression on real pairs against swapped masks of the same size.
_TEXTURE_WEIGHT: Final = 1.8
_OUTLINE_WEIGHT: Final = 6.5


def agreement(grey: NDArray[np.uint8], mask: NDArray[np.bool_]) -> float | None:
    """How well `mask` (H, W) fits the photo `grey` (H, W), short side SIDE; the larger, the better.

    None if the outline is too short, or the photo leaves no space to move the mask.
    """
    found = features(grey, mask)
    if found is None:
        return None
    rank, contrast = found
    score = -_TEXTURE_WEIGHT * np.log(0.03 + 1 - rank) + _OUTLINE_WEIGHT * np.log(max(contrast, 1e-3))
    return round(float(score), 3)


def small_size(photo: NDArray[np.uint8]) -> tuple[int, int]:
    """Width and height of a photo (H, W) with SIDE pixels on its short side."""
    scale = SIDE / min(photo.shape)
    return max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale))


def scaled(picture: NDArray[np.uint8], size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """A picture (H, W) at `size` (width, height), by default the picture's `small_size`, by area."""
    return np.asarray(Image.fromarray(picture).resize(size or small_size(picture), Image.Resampling.BOX))


def fitted(white: NDArray[np.bool_], photo: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """A mask (H, W) bool at the photo's `small_size`."""
    return scaled(black_white(white), small_size(photo)) > MASK_THRESHOLD


def features(grey: NDArray[np.uint8], mask: NDArray[np.bool_]) -> tuple[float, float] | None:
    """Share of other positions with less texture (0..1), and the ratio of edges along the outline to edges beside."""
    if not mask.any():
        return None
    across, down = _gradient(grey.astype(np.float32))
    strength = np.hypot(across, down)
    limit = np.minimum(1, _LARGEST_GRADIENT / np.maximum(strength, 1e-6))
    places = _texture(np.minimum(strength, _LARGEST_GRADIENT), mask)
    contrast = _outline_contrast(across * limit, down * limit, mask)
    if contrast is None or len(places) < 2:
        return None
    return float(np.mean(places[1:] < places[0])), contrast


def _texture(strength: Floats, mask: NDArray[np.bool_]) -> Floats:
    """Mean gradient inside the mask: first at the mask's position, then at every other position inside the photo."""
    height, width = mask.shape
    kernel = np.fft.rfft2(mask.astype(np.float32))
    # Correlation by Fourier transform: the sum under the mask at every shift in a single pass.
    sums = np.fft.irfft2(np.fft.rfft2(strength) * np.conj(kernel), s=mask.shape)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    downs = np.arange(-rows[0], height - rows[-1], _SHIFT_STEP)
    rights = np.arange(-columns[0], width - columns[-1], _SHIFT_STEP)
    elsewhere = sums[np.ix_(downs % height, rights % width)].ravel()
    return np.concatenate([sums[:1, 0], elsewhere]).astype(np.float32)


def _outline_contrast(across: Floats, down: Floats, mask: NDArray[np.bool_]) -> float | None:
    """Energy of the photo's edges along the mask's outline, divided by the energy beside the outline."""
    from scipy.ndimage import uniform_filter

    soft = uniform_filter(uniform_filter(mask.astype(np.float32) * 255, 3, mode="nearest"), 3, mode="nearest")
    normal_x, normal_y = _gradient(soft)
    length = np.hypot(normal_x, normal_y)
    ys, xs = np.nonzero(length > 20)
    if len(ys) < _MIN_BAND:
        return None
    nx, ny = normal_x[ys, xs] / length[ys, xs], normal_y[ys, xs] / length[ys, xs]
    height, width = mask.shape

    def energy(dy: int, dx: int) -> float:
        rows, columns = (ys + dy) % height, (xs + dx) % width
        # Only the gradient across the outline counts: a real border has its edge in that direction.
        return float(np.mean((across[rows, columns] * nx + down[rows, columns] * ny) ** 2))

    far = [sign * step for step in _AWAY for sign in (-1, 1)]
    steps = range(-12, 13, 3)
    beside = [energy(a, b) for a in far for b in steps] + [energy(b, a) for a in far for b in steps]
    return energy(0, 0) / max(float(np.mean(beside)), 1e-6)


def _gradient(values: Floats) -> tuple[Floats, Floats]:
    """Differences over two pixels, across and down; 0 at the borders."""
    across, down = np.zeros_like(values), np.zeros_like(values)
    across[:, 1:-1] = values[:, 2:] - values[:, :-2]
    down[1:-1] = values[2:] - values[:-2]
    return across, down
