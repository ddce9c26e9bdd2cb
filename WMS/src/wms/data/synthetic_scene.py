"""Paints the surroundings of the dial in a synthetic photo (wall, pipes) and simulates the camera.

Coordinates and lengths are pixels of the current image. All randomness comes from the caller's generator, so a seed
always gives the same picture.
"""

from __future__ import annotations

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from wms.data.synthetic_drawing import BLACK, BLUE, METALS, RED, WALLS, WHITE, Colour, draw_bar_code, pick, scaled, vary
from wms.pictures import encoded

Point = tuple[float, float]
Floats = NDArray[np.float32]


def draw_background(
    rng: np.random.Generator, size: tuple[int, int], centre: Point, radius: float, angle: float
) -> Image.Image:
    """A wall, clutter and the pipe that the meter sits on: RGB of `size` (width, height).

    `centre`, `radius` and `angle` (radians) say where the meter will be pasted, so that the pipe fits.
    """
    image = Image.new("RGB", size, pick(rng, WALLS))
    pen = ImageDraw.Draw(image)
    _draw_wall(rng, pen, size)
    for _ in range(int(rng.integers(1, 6))):
        _draw_clutter(rng, pen, size)
    image = _mottled(rng, image)
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(0, 4))):
        start, end = rng.uniform(-0.1, 1.1, (2, 2)) * size
        _draw_pipe(rng, pen, tuple(start.tolist()), tuple(end.tolist()), rng.uniform(0.03, 0.09) * max(size))
    _draw_fitting(rng, pen, centre, radius, angle + float(rng.choice((0.0, math.pi / 2))))
    return image


def _draw_wall(rng: np.random.Generator, pen: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
    width, height = size
    kind, colour = int(rng.integers(4)), pick(rng, WALLS)
    pitch = int(rng.uniform(0.08, 0.3) * width)
    if kind == 0:
        pen.rectangle((0, 0, int(rng.uniform(0.1, 0.9) * width), height), fill=colour)
    elif kind == 1:
        lean, line = rng.uniform(-0.3, 0.3) * width, max(2, pitch // 24)
        for x in range(-width, 2 * width, pitch):
            pen.line((x, 0, x + lean, height), fill=colour, width=line)
        for y in range(-height, 2 * height, pitch):
            pen.line((0, y, width, y - lean), fill=colour, width=line)
    elif kind == 2:
        for x in range(0, width, pitch):
            pen.rectangle((x, 0, x + pitch - 4, height), fill=vary(rng, colour, 16))


def _draw_clutter(rng: np.random.Generator, pen: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
    """A handle, a cloth, a hose or a sticker with print that resembles a strip."""
    x, y = (rng.uniform(0, 1, 2) * size).tolist()
    wide, high = (rng.uniform(0.04, 0.22, 2) * max(size)).tolist()
    kind = int(rng.integers(5))
    if kind == 0:
        corners = rng.uniform(-1, 1, (5, 2)) * (wide, high) + (x, y)
        pen.polygon(corners.ravel().tolist(), fill=pick(rng, WALLS))
    elif kind == 1:
        pen.ellipse((x, y, x + wide, y + high), fill=pick(rng, (RED, BLUE, BLACK, WHITE, (40, 110, 70))))
    elif kind == 2:
        box = (x, y, x + 2 * wide, y + 2 * high)
        start, end = sorted(rng.uniform(0, 360, 2).tolist())
        pen.arc(box, start, end, fill=pick(rng, METALS), width=max(4, int(0.02 * size[0])))
    elif kind == 3:
        draw_bar_code(rng, pen, (x, y, x + wide, y + 0.25 * wide))
    else:
        paper = pick(rng, (WHITE, BLACK, RED))
        pen.rectangle((x, y, x + wide, y + 0.2 * wide), fill=paper)
        for step in range(6):  # dark and light cells in a row, like wheels seen from afar
            left = x + wide * (step + 0.25) / 6
            pen.rectangle((left, y + 0.04 * wide, left + wide / 13, y + 0.16 * wide), fill=scaled(paper, 0.5))


def _draw_pipe(rng: np.random.Generator, pen: ImageDraw.ImageDraw, start: Point, end: Point, wide: float) -> None:
    """A cylinder from start to end, drawn as ever thinner and lighter lines."""
    colour = pick(rng, METALS)
    for step in range(6):
        _line(pen, start, end, wide * (1 - 0.17 * step), scaled(colour, 0.45 + 0.14 * step))


def _line(pen: ImageDraw.ImageDraw, start: Point, end: Point, wide: float, colour: Colour) -> None:
    pen.line((*start, *end), fill=colour, width=max(1, int(wide)))


def _draw_fitting(
    rng: np.random.Generator, pen: ImageDraw.ImageDraw, centre: Point, radius: float, angle: float
) -> None:
    """The meter's own pipe with a nut on either side of the dial."""
    across = np.array((math.cos(angle), math.sin(angle)))
    middle, wide = np.array(centre), radius * float(rng.uniform(0.35, 0.7))

    def along(distance: float) -> Point:
        x, y = (middle + across * distance * radius).tolist()
        return x, y

    _draw_pipe(rng, pen, along(-6), along(6), wide * 0.75)
    for side in (-1, 1):
        start = rng.uniform(0.85, 1.1)
        _draw_pipe(rng, pen, along(side * start), along(side * (start + rng.uniform(0.2, 0.5))), wide)


def _cloud(rng: np.random.Generator, size: tuple[int, int], cells: int) -> Floats:
    """Smooth noise in 0..1, float32 of shape (height, width)."""
    coarse = Image.fromarray(rng.random((cells, cells), dtype=np.float32))
    return np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), dtype=np.float32)


def _mottled(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    """The wall with stains and grain; made small and enlarged, since walls are out of focus anyway."""
    small = (image.width // 4, image.height // 4)
    grain = rng.uniform(0, 0.25) * rng.random((small[1], small[0]), dtype=np.float32)
    dirt = 255 * np.clip(0.6 + 0.6 * _cloud(rng, small, int(rng.integers(3, 9))) - grain, 0.25, 1)
    layer = Image.fromarray(dirt.astype(np.uint8)).resize(image.size, Image.Resampling.BILINEAR)
    return ImageChops.multiply(image, Image.merge("RGB", (layer, layer, layer)))


def photograph(
    rng: np.random.Generator, scene: Image.Image, centre: Point, radius: float, difficulty: float
) -> Image.Image:
    """The scene as a phone camera records: RGB of the same size with light, glare, blur, noise and JPEG loss.

    `difficulty` 0 leaves the scene nearly unchanged; 1 resembles real photos.
    """
    if difficulty <= 0:
        return scene
    blur = min(1.6, float(rng.exponential(0.45)) * difficulty) * max(scene.size) / 512
    image = scene.filter(ImageFilter.GaussianBlur(blur)) if blur > 0.2 else scene
    pixels = np.asarray(image, dtype=np.float32)
    pixels = pixels * _light(rng, scene.size, centre, radius, difficulty)
    pixels += _glare(rng, scene.size, centre, radius, difficulty)[:, :, None]
    strength = np.float32(rng.uniform(1.0, 9.0) * difficulty)
    pixels += strength * rng.standard_normal((*pixels.shape[:2], 1), dtype=np.float32)
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return Image.open(io.BytesIO(encoded(image, quality=int(rng.integers(45, 93))))).convert("RGB")


def _light(rng: np.random.Generator, size: tuple[int, int], centre: Point, radius: float, difficulty: float) -> Floats:
    """The light as a factor per pixel and channel, float32 (height, width, 3): flash, shadow, darkness, colour cast."""
    width, height = size[0] // 8, size[1] // 8
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32) * 8
    reach = radius * rng.uniform(1.2, 3.5)
    distance = ((xs - centre[0]) ** 2 + (ys - centre[1]) ** 2) / reach**2
    flash = rng.uniform(0, 0.65) * difficulty
    light = (1 - flash) + flash * np.exp(-distance)
    if rng.random() < 0.45:
        slope = rng.uniform(0, math.tau)
        beyond = (xs - centre[0]) * math.cos(slope) + (ys - centre[1]) * math.sin(slope)
        edge = rng.uniform(-0.8, 0.8) * radius
        soft = radius * rng.uniform(0.05, 0.6)
        light *= 1 - rng.uniform(0.2, 0.6) * difficulty / (1 + np.exp(-np.clip((beyond - edge) / soft, -30, 30)))
    exposure = rng.uniform(0.6, 1.25) if rng.random() < 0.85 else rng.uniform(0.25, 0.6)
    light *= 1 + (exposure - 1) * min(1.0, difficulty)
    full = np.asarray(Image.fromarray(light.astype(np.float32)).resize(size), dtype=np.float32)
    cast = 1 + difficulty * rng.uniform(-1, 1) * np.array((0.22, 0.02, -0.25), dtype=np.float32)
    return np.asarray(full[:, :, None] * cast, dtype=np.float32)


def _glare(rng: np.random.Generator, size: tuple[int, int], centre: Point, radius: float, difficulty: float) -> Floats:
    """Reflections on the glass to be added, float32 (height, width) of 0..255."""
    width, height = size[0] // 4, size[1] // 4
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32) * 4
    spots = np.zeros((height, width), dtype=np.float32)
    for _ in range(int(rng.integers(0, 3))):
        x, y = (np.array(centre) + rng.uniform(-0.8, 0.8, 2) * radius).tolist()
        wide, high = (rng.uniform(0.04, 0.22, 2) * radius).tolist()
        shape = ((xs - x) / wide) ** 2 + ((ys - y) / high) ** 2
        spots += rng.uniform(40, 280) * difficulty * np.exp(-(np.minimum(shape, 30) ** rng.uniform(0.7, 2.0)))
    return np.asarray(Image.fromarray(np.clip(spots, 0, 255)).resize(size), dtype=np.float32)
