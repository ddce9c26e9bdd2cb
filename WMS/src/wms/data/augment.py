"""Joint augmentation of image and mask, a pure function of (seed, epoch, image).

The parameters are drawn from a generator seeded by the caller. No global random state is touched, so loader processes,
resumed runs and several machines see the same picture for the same (seed, epoch, image).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from wms.config import AugmentationConfig
from wms.data.masks import MASK_THRESHOLD


def generator_for(seed: int, epoch: int, image_sha256: str) -> np.random.Generator:
    """The random generator of an image in an epoch."""
    return np.random.default_rng([seed, epoch, int(image_sha256[:16], 16)])


def augment(
    image: Tensor,
    mask: Tensor,
    size: int,
    config: AugmentationConfig,
    rng: np.random.Generator,
    *,
    mask_size: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Change one pair: (3, S, S) and (1, S, S) uint8 -> (3, size, size) and (1, m, m) float32 in 0..1.

    m is `mask_size`, else `size`. Geometry is drawn once and applied to image and mask; colour, noise and blur touch
    the image alone.
    """
    image, mask = _geometry(image, mask, (size, mask_size or size), config, rng)
    pixels = image.float() / 255
    if rng.random() < config.colour:
        pixels = _colour(pixels, config, rng)
    if rng.random() < config.noise:
        spread = rng.uniform(0, config.noise_std)
        pixels = pixels + torch.from_numpy(rng.standard_normal(pixels.shape, dtype=np.float32)) * spread
    if rng.random() < config.blur:
        pixels = _blur(pixels, rng.uniform(0.1, max(0.1, config.blur_sigma)))
    return pixels.clamp(0, 1), mask.float() / 255


def plain(image: Tensor, mask: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The same pair without augmentation; shapes as `augment`."""
    if image.shape[-1] != size:
        image, mask = _resize(image, size), _resize(mask, size)
    return image.float() / 255, mask.float() / 255


def _geometry(
    image: Tensor, mask: Tensor, sizes: tuple[int, int], config: AugmentationConfig, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Image and mask at the two `sizes`; lengths are shares of a side, so the two agree at any size."""
    side = image.shape[-1]
    zoom = math.exp(rng.uniform(math.log(config.zoom[0]), math.log(config.zoom[1])))
    stretch = math.exp(rng.uniform(-config.aspect, config.aspect) / 2)
    # Magnification crops from the larger cached image, so that it shows real detail, not blown-up pixels.
    width = min(side, round(side / max(zoom, 1.0) * stretch))
    height = min(side, round(side / max(zoom, 1.0) / stretch))
    top, left = int(rng.integers(0, side - height + 1)), int(rng.integers(0, side - width + 1))
    window = (slice(top, top + height), slice(left, left + width))
    # Drawn only where a recipe asks for it, so that the others' pictures stay what they were.
    if config.close_up and rng.random() < config.close_up:
        window, zoom = _close_up(mask, config, rng, stretch) or window, 1.0
    image, mask = (_resize(x[:, *window], size) for x, size in zip((image, mask), sizes, strict=True))
    if rng.random() < config.horizontal_flip:
        image, mask = image.flip(-1), mask.flip(-1)
    if rng.random() < config.vertical_flip:
        image, mask = image.flip(-2), mask.flip(-2)
    if rng.random() < config.transpose:
        image, mask = image.transpose(-1, -2), mask.transpose(-1, -2)
    angle = rng.uniform(-config.rotation_degrees, config.rotation_degrees)
    shift = [rng.uniform(-config.shift, config.shift) for _ in range(2)]
    if rng.random() < config.rotation:
        image, mask = (_turn(x, angle, shift, min(zoom, 1.0)) for x in (image, mask))
    return image, mask


def _close_up(
    mask: Tensor, config: AugmentationConfig, rng: np.random.Generator, stretch: float
) -> tuple[slice, slice] | None:
    """A window around the strip of (1, S, S) uint8, like the second look's: its rows and columns.

    The first look may be inexact, so the window is shifted at random: at most a fifth of the strip's length stays
    outside. None for a mask without a strip.
    """
    side, strip = mask.shape[-1], mask[0] > MASK_THRESHOLD
    spans = [torch.nonzero(strip.any(dim=axis)).flatten() for axis in (1, 0)]
    if not len(spans[0]):
        return None
    length = max(int(span[-1] - span[0]) + 1 for span in spans)
    window = length / rng.uniform(*config.close_up_fill)
    slack = max(0.0, window / 2 - 0.3 * length)
    sides = []
    for span, wanted in zip(spans, (window / stretch, window * stretch), strict=True):
        size = max(1, min(side, round(wanted)))
        middle = float(span[0] + span[-1] + 1) / 2 + rng.uniform(-slack, slack)
        start = min(max(0, round(middle - size / 2)), side - size)
        sides.append(slice(start, start + size))
    return sides[0], sides[1]


def _resize(picture: Tensor, size: int) -> Tensor:
    """(C, H, W) uint8 -> (C, size, size) uint8, bilinear, each source pixel counted where the picture shrinks."""
    if picture.shape[-2:] == (size, size):
        return picture
    return functional.interpolate(picture[None], (size, size), mode="bilinear", antialias=True)[0]


def _turn(picture: Tensor, angle: float, shift: list[float], scale: float) -> Tensor:
    """Turn (degrees, clockwise), move (shares of a side) and shrink (C, S, S) uint8 about its centre."""
    cos, sin = (f(math.radians(angle)) / scale for f in (math.cos, math.sin))
    x, y = (2 * share for share in shift)  # a side is 2 long in the sampling grid's coordinates
    back = torch.tensor([[[cos, sin, -cos * x - sin * y], [-sin, cos, sin * x - cos * y]]], dtype=torch.float32)
    grid = functional.affine_grid(back, [1, *picture.shape], align_corners=False)
    turned = functional.grid_sample(picture[None].float(), grid, mode="bilinear", align_corners=False)
    return turned[0].round().to(picture.dtype)


def _blur(pixels: Tensor, sigma: float) -> Tensor:
    """Blur (C, H, W) float32 with a Gaussian of `sigma` pixels, cut off after two pixels; the border is mirrored."""
    line = torch.softmax(-(torch.arange(-2.0, 3.0) ** 2) / (2 * sigma**2), dim=0)
    kernel = (line[:, None] * line).expand(len(pixels), 1, 5, 5)
    framed = functional.pad(pixels[None], [2, 2, 2, 2], mode="reflect")
    return functional.conv2d(framed, kernel, groups=len(pixels))[0]


def _colour(pixels: Tensor, config: AugmentationConfig, rng: np.random.Generator) -> Tensor:
    """Brightness, contrast, saturation or none, tint and gamma of (3, H, W) in 0..1; the result may leave 0..1."""

    def factor(amount: float) -> float:
        return float(rng.uniform(1 - amount, 1 + amount))

    pixels = pixels * factor(config.brightness)
    mean = pixels.mean()
    pixels = (pixels - mean) * factor(config.contrast) + mean
    grey = pixels.mean(dim=0, keepdim=True)
    saturation = factor(config.saturation)
    # Drawn only where a recipe asks for it, so that the others' pictures stay what they were.
    if config.grey and rng.random() < config.grey:
        saturation = 0.0
    pixels = (pixels - grey) * saturation + grey
    tint = torch.tensor([factor(config.tint) for _ in range(3)], dtype=torch.float32)
    return (pixels * tint[:, None, None]).clamp(0, 1) ** factor(config.gamma)
