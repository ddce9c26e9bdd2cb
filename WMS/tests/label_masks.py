"""Masks as labelling tools write them, in which no viewer shows the strip white."""

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


def _outlined(strip: Strip) -> Image.Image:
    """As in the VOC data sets: the object dark red, an outline of "void" nearly white."""
    outline = ~strip & (_shifted(strip, 1) | _shifted(strip, -1))
    colours = np.zeros((*strip.shape, 3), np.uint8)
    colours[strip], colours[outline] = (128, 0, 0), (224, 224, 192)
    return Image.fromarray(colours)


def _shifted(strip: Strip, step: int) -> Strip:
    return np.roll(strip, step, axis=0) | np.roll(strip, step, axis=1)


def _with_a_stray_pixel(strip: Strip) -> Image.Image:
    values = strip.astype(np.uint8)
    values[0, 0] = 255
    return Image.fromarray(values)


def _big_endian(strip: Strip) -> Image.Image:
    return Image.fromarray(strip.astype(">u2"))


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
    "dark red in a white outline": ("png", _outlined),
    "0 and 1 and a stray white pixel": ("png", _with_a_stray_pixel),
    "0 and 1 in 16 bits, big-endian": ("tif", _big_endian),
    "a strip of NaN": ("tif", lambda strip: Image.fromarray(np.where(strip, np.float32("nan"), np.float32(0)))),
    "the alpha channel": ("png", _only_alpha),
}
"""Kind -> (extension, drawing of a strip (H, W) as such a mask)."""

CLASSES: Final = frozenset(
    {
        "a palette of two blacks",
        "dark red in a white outline",
        "0 and 1 and a stray white pixel",
        "a strip of NaN",
    }
)
"""The kinds that don't tell which class is the strip; of the others, the strip is read."""
