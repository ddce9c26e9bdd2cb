"""Alterations of a photo that leave its scene: by them the measure of near-duplicates is judged."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Photo = NDArray[np.uint8]
"""(H, W, 3) or (H, W)."""
Alteration = Callable[[Photo, np.random.Generator], Photo]


def crop(photo: Photo, share: float, right: float = 0.0, down: float = 0.0) -> Photo:
    """The photo without `share` of its height and width; the window lies `right` and `down` of the middle."""
    height, width = photo.shape[:2]
    top, left = (max(0, round(side * (share / 2 + off))) for side, off in ((height, down), (width, right)))
    return photo[top : top + int(height * (1 - share)), left : left + int(width * (1 - share))]


def turn(photo: Photo, degrees: float) -> Photo:
    """The photo turned within its frame; the corners are filled with its mean."""
    image = Image.fromarray(photo).convert("RGB")
    mean = round(float(photo.mean()))
    return np.asarray(image.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=(mean, mean, mean)))


def light(photo: Photo, gain: float, offset: float = 0.0) -> Photo:
    """The photo with another exposure, cut at black and white."""
    return np.asarray(np.clip(photo * gain + offset, 0, 255), np.uint8)


def encode(photo: Photo, quality: int) -> Photo:
    """The photo after a JPEG of `quality`."""
    stream = io.BytesIO()
    Image.fromarray(photo).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def shrink(photo: Photo, times: int) -> Photo:
    """The photo at a fraction of its size."""
    size = (photo.shape[1] // times, photo.shape[0] // times)
    return np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS))


def burst(photo: Photo, rng: np.random.Generator, strength: float = 1.0) -> Photo:
    """Another shot by the same hand: turned, seen from a little aside, nearer, shifted, in other light, encoded again.

    At strength 1: up to 3 degrees, corners moved by up to 1.5 %, 2 to 8 % nearer, 20 % brighter or darker.
    """
    degrees = rng.uniform(-3, 3) * strength
    moved = _aside(turn(photo, degrees), 0.015 * strength, rng)
    edge = math.tan(math.radians(abs(degrees))) + 0.03 * strength  # what turning and the view from aside left empty
    share = rng.uniform(0.02, 0.08) * strength
    right, down = rng.uniform(-share / 2, share / 2, 2)
    near = crop(crop(moved, edge), share, right, down)
    return encode(light(near, rng.uniform(0.8, 1.2), rng.uniform(-15, 15)), 70)


def _aside(photo: Photo, share: float, rng: np.random.Generator) -> Photo:
    """A perspective: each corner moved by up to `share` of the sides."""
    height, width = photo.shape[:2]
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], float)
    moved = corners + rng.uniform(-share, share, (4, 2)) * [width, height]
    rows = []
    for (x, y), (u, v) in zip(corners, moved, strict=True):
        rows += [(x, y, 1, 0, 0, 0, -u * x, -u * y), (0, 0, 0, x, y, 1, -v * x, -v * y)]
    solved = np.linalg.solve(np.array(rows), moved.reshape(-1)).tolist()
    return np.asarray(
        Image.fromarray(photo).transform((width, height), Image.Transform.PERSPECTIVE, solved, Image.Resampling.BICUBIC)
    )


ALTERATIONS: Final[dict[str, Alteration]] = {
    "crop of 2 %": lambda photo, _: crop(photo, 0.02),
    "crop of 5 %": lambda photo, _: crop(photo, 0.05),
    "crop of 10 %": lambda photo, _: crop(photo, 0.10),
    "crop of 20 %": lambda photo, _: crop(photo, 0.20),
    "shift of 3 %": lambda photo, _: crop(photo, 0.03, 0.015, 0.015),
    "shift of 5 %": lambda photo, _: crop(photo, 0.05, 0.025, 0.025),
    "mirrored": lambda photo, _: photo[:, ::-1],
    "turned by a quarter": lambda photo, _: np.rot90(photo),
    "turned by 2 degrees": lambda photo, _: turn(photo, 2),
    "turned by 5 degrees": lambda photo, _: turn(photo, 5),
    "0.6 times as bright": lambda photo, _: light(photo, 0.6),
    "1.5 times as bright": lambda photo, _: light(photo, 1.5),
    "JPEG of quality 30": lambda photo, _: encode(photo, 30),
    "a third of the size": lambda photo, _: shrink(photo, 3),
    "burst": burst,
}
"""By name; the generator is for those that chance decides."""

HARD: Final[dict[str, Alteration]] = {"burst, twice as strong": lambda photo, rng: burst(photo, rng, 2.0)}
"""Alterations that the measure doesn't promise to catch."""
