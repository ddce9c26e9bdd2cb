"""Masks as labelling tools write them, which mark a strip but don't read as one: white above 127."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Strip = NDArray[np.bool_]


def _palette(colour: tuple[int, int, int]) -> Callable[[Strip], Image.Image]:
    def draw(strip: Strip) -> Image.Image:
        image = Image.fromarray(strip.astype(np.uint8)).convert("P")
        image.putdata(strip.astype(np.uint8).ravel().tolist())
        image.putpalette([0, 0, 0, *colour])
        return image

    return draw


def _only_alpha(strip: Strip) -> Image.Image:
    pixels = np.zeros((*strip.shape, 4), np.uint8)
    pixels[..., 3] = np.where(strip, 255, 0)
    return Image.fromarray(pixels)


HIDING: Final[Mapping[str, tuple[str, Callable[[Strip], Image.Image]]]] = {
    "0 and 1": ("png", lambda strip: Image.fromarray(strip.astype(np.uint8))),
    "0 and 1, all of it": ("png", lambda strip: Image.fromarray(np.ones(strip.shape, np.uint8))),
    "0 and 1 in 16 bits": ("png", lambda strip: Image.fromarray(strip.astype(np.uint16))),
    "0 and 255 in 16 bits": ("png", lambda strip: Image.fromarray(strip.astype(np.uint16) * 255)),
    "shares below a half": ("tif", lambda strip: Image.fromarray(strip.astype(np.float32) * 0.4)),
    "a dark red palette": ("png", _palette((128, 0, 0))),
    "a blue palette": ("png", _palette((0, 0, 255))),
    "a palette of two blacks": ("png", _palette((0, 0, 0))),
    "dark red pixels": ("png", lambda strip: Image.fromarray(strip[..., None] * np.array([128, 0, 0], np.uint8))),
    "the alpha channel": ("png", _only_alpha),
}
"""Kind -> (extension, drawing of a strip (H, W) as such a mask)."""
