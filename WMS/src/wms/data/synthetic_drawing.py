"""Paints the dial of a synthetic water-meter photo, with the strip, distractors and bar code.

Lengths on a dial are in "face units": the centre is (0, 0), the rim lies at radius 1, y points down. All randomness
comes from the caller's generator, so a seed always paints the same picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]

BLACK: Colour = (22, 22, 24)
WHITE: Colour = (238, 238, 234)
RED: Colour = (196, 34, 38)
BLUE: Colour = (36, 70, 160)
FACES: tuple[Colour, ...] = (
    *((238, 236, 230), (225, 226, 226), (232, 208, 203), (206, 216, 226), (228, 217, 190), (188, 190, 186)),
    *((242, 240, 238), (32, 33, 37), (200, 205, 180)),
)
RIMS: tuple[Colour, ...] = (
    *((152, 118, 62), (34, 64, 150), (168, 42, 44), (26, 26, 28), (130, 132, 134), (214, 214, 210)),
    *((92, 84, 72), (190, 170, 150)),
)
WALLS: tuple[Colour, ...] = (
    *((40, 38, 36), (70, 62, 54), (112, 104, 92), (168, 160, 148), (60, 74, 66), (48, 60, 80)),
    *((186, 150, 104), (30, 32, 34), (140, 150, 154), (96, 66, 44), (204, 200, 192), (58, 96, 66)),
)
METALS: tuple[Colour, ...] = ((150, 116, 58), (120, 120, 122), (206, 206, 204), (84, 66, 46), (60, 60, 62))
# (wheel, its digits, wheel of the fraction, its digits)
WHEELS: tuple[tuple[Colour, Colour, Colour, Colour], ...] = (
    (BLACK, WHITE, RED, WHITE),
    (BLACK, WHITE, WHITE, RED),
    (WHITE, BLACK, WHITE, RED),
    (WHITE, BLACK, RED, WHITE),
    (BLACK, WHITE, BLACK, (232, 70, 62)),
    ((214, 212, 204), BLACK, (214, 212, 204), RED),
)
BRANDS = ("VODOMIR", "HYDRALIS", "METRUM", "STRUGA", "AKVION", "TALWEG", "FONTEX", "RILLE-15", "KASKAD")
LABELS = ("Qn 1,5 m3/h", "T 5-90 C", "Class B-H A-V", "DN 15", "PN 16", "2016", "m3", "0,0001", "H-B V-A")


@dataclass(frozen=True)
class Strip:
    """The reading strip: centre and half sizes in face units, the digits, how many belong to the fraction."""

    x: float
    y: float
    half_width: float
    half_height: float
    digits: str
    fraction: int

    @property
    def box(self) -> Box:
        """Left, top, right, bottom in face units."""
        return (
            *(self.x - self.half_width, self.y - self.half_height),
            *(self.x + self.half_width, self.y + self.half_height),
        )


def plan_strip(rng: np.random.Generator) -> Strip:
    """Choose a strip of 5 to 8 wheels in the upper or the lower half of the dial."""
    wheels, fraction = int(rng.integers(5, 9)), int(rng.integers(1, 4))
    y = float(rng.choice((-1, 1), p=(0.6, 0.4)) * rng.uniform(0.2, 0.46))
    half_width = float(rng.uniform(0.44, 0.66))
    wheel_aspect = rng.uniform(1.15, 1.65)  # a wheel is taller than wide
    half_height = min(0.17, half_width / wheels * wheel_aspect)
    digits = "".join(str(digit) for digit in rng.integers(0, 10, wheels))
    if rng.random() < 0.6:
        digits = "00" + digits[2:]  # most meters in use haven't come far
    return Strip(float(rng.uniform(-0.06, 0.06)), y, half_width, half_height, digits, fraction)


@lru_cache(maxsize=256)
def _font(pixels: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(max(4, pixels))


def vary(rng: np.random.Generator, colour: Colour, by: int = 14) -> Colour:
    """The colour with each channel changed by at most `by`, kept within 0..255."""
    by = min(by, 2 + max(colour) // 12)  # a dark colour would otherwise turn into another hue
    red, green, blue = (int(np.clip(channel + rng.integers(-by, by + 1), 0, 255)) for channel in colour)
    return red, green, blue


def pick(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    """A colour drawn from `colours`, slightly varied."""
    return vary(rng, colours[int(rng.integers(len(colours)))])


def scaled(colour: Colour, factor: float) -> Colour:
    """The colour made darker (factor below 1) or lighter (above 1)."""
    red, green, blue = (min(255, int(channel * factor)) for channel in colour)
    return red, green, blue


@dataclass
class _Face:
    """A dial during painting; `taken` are the boxes that already hold print."""

    rng: np.random.Generator
    pixels: int
    paper: Colour
    ink: Colour
    taken: list[Box] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.image = Image.new("RGBA", (self.pixels, self.pixels), (0, 0, 0, 0))
        self.draw = ImageDraw.Draw(self.image)

    def at(self, box: Box) -> Box:
        """A box in face units as a box in pixels of this dial."""
        half = self.pixels / 2
        left, top, right, bottom = ((value + 1) * half for value in box)
        return left, top, right, bottom

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        self.draw.ellipse(self.at((x - radius, y - radius, x + radius, y + radius)), fill=colour)

    def text(self, x: float, y: float, height: float, text: str, colour: Colour) -> None:
        left, top, _, _ = self.at((x, y, x, y))
        self.draw.text((left, top), text, fill=colour, anchor="mm", font=_font(round(height * self.pixels / 2)))

    def find_room(self, half_width: float, half_height: float) -> Box | None:
        """A box inside the dial that touches no earlier print, or None after 20 failed tries."""
        for x, y in self.rng.uniform(-0.75, 0.75, (20, 2)).tolist():
            box = (x - half_width, y - half_height, x + half_width, y + half_height)
            corner = math.hypot(abs(x) + half_width, abs(y) + half_height)
            clear = all(
                box[2] < other[0] or other[2] < box[0] or box[3] < other[1] or other[3] < box[1] for other in self.taken
            )
            if corner < 0.84 and clear:
                self.taken.append((box[0] - 0.02, box[1] - 0.02, box[2] + 0.02, box[3] + 0.02))
                return box
        return None


def draw_face(rng: np.random.Generator, strip: Strip, pixels: int, difficulty: float) -> Image.Image:
    """Paint a dial with the strip: an RGBA square of `pixels`, transparent outside the rim."""
    paper = pick(rng, FACES)
    ink = WHITE if sum(paper) < 240 else (BLACK, BLACK, BLUE, RED)[int(rng.integers(4))]
    face, rim = _Face(rng, pixels, paper, ink), pick(rng, RIMS)
    edge = float(rng.uniform(0.88, 0.95))
    for radius, colour in ((1.0, scaled(rim, 0.6)), (0.985, rim), (edge + 0.02, scaled(rim, 1.35))):
        face.disc(0, 0, radius, colour)
    face.disc(0, 0, edge, scaled(paper, 0.8))
    face.disc(0, 0, edge - 0.02, paper)
    left, top, right, bottom = strip.box
    face.taken.append((left - 0.06, top - 0.06, right + 0.22, bottom + 0.06))  # with room for "m3"
    _draw_strip(face, strip)
    if right < 0.7:
        face.text(right + 0.12, strip.y, 0.13, "m3", ink)
    for _ in range(int(rng.integers(0, 5))):
        _draw_sub_dial(face, float(rng.uniform(0.11, 0.2)))
    _draw_star(face, float(rng.uniform(0.07, 0.13)))
    for _ in range(round(float(rng.integers(0, 4)) * difficulty)):
        _draw_distractor(face)
    for _ in range(int(rng.integers(3, 9))):
        _draw_label(face)
    return face.image


def _draw_strip(face: _Face, strip: Strip) -> None:
    """The row of wheels: cylinders lit in the middle, the last wheels between two digits."""
    rng = face.rng
    left, top, right, bottom = (round(value) for value in face.at(strip.box))
    width, height = max(8, right - left), max(4, bottom - top)
    window = Image.new("RGB", (width, height), scaled(face.paper, 0.9) if rng.random() < 0.3 else BLACK)
    wheel, digit, fraction_wheel, fraction_digit = WHEELS[int(rng.integers(len(WHEELS)))]
    count, gap = len(strip.digits), float(rng.choice((0.02, 0.05, 0.14))) / 2
    font = _font(round(height * rng.uniform(0.72, 0.98)))
    for index, character in enumerate(strip.digits):
        late = index >= count - strip.fraction
        start, end = (round(width * (index + part) / count) for part in (gap, 1 - gap))
        cell = Image.new("RGB", (max(1, end - start), height), vary(rng, fraction_wheel if late else wheel, 6))
        pen, ink = ImageDraw.Draw(cell), fraction_digit if late else digit
        turn = float(rng.uniform(-0.5, 0.5)) if index == count - 1 else float(rng.uniform(-0.08, 0.08))
        for step in (-1, 0, 1):
            label = str((int(character) + step) % 10)
            pen.text((cell.width / 2, height * (0.5 + step - turn)), label, fill=ink, anchor="mm", font=font)
        window.paste(cell, (start, 0))
    around = np.abs(np.linspace(-1, 1, height)) ** 3
    shade = Image.fromarray((255 - 120 * around).astype(np.uint8)[:, None]).resize((width, height))
    window = ImageChops.multiply(window, Image.merge("RGB", (shade, shade, shade)))
    margin = float(rng.choice((0.0, 0.015, 0.035)))
    box = strip.box
    frame = (box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin)
    if margin:
        colour = pick(rng, (BLACK, WHITE, (120, 120, 120), scaled(face.paper, 0.7)))
        face.draw.rectangle(face.at(frame), fill=colour)
    face.image.paste(window, (left, top))


def _draw_sub_dial(face: _Face, radius: float) -> None:
    room = face.find_room(radius, radius)
    if room is None:
        return
    x, y = (room[0] + room[2]) / 2, (room[1] + room[3]) / 2
    if face.rng.random() < 0.5:
        face.disc(x, y, radius, scaled(face.paper, 0.82))
        face.disc(x, y, radius * 0.94, scaled(face.paper, 1.05))
    for digit in range(10):
        angle = math.tau * digit / 10
        where = (x + 0.8 * radius * math.sin(angle), y - 0.8 * radius * math.cos(angle))
        face.text(*where, radius * 0.36, str(digit), face.ink)
    angle = float(face.rng.uniform(0, math.tau))
    tip = (x + 0.75 * radius * math.sin(angle), y - 0.75 * radius * math.cos(angle))
    side = (0.2 * radius * math.cos(angle), 0.2 * radius * math.sin(angle))
    hand = [*face.at((*tip, x + side[0], y + side[1])), *face.at((x - side[0], y - side[1], 0, 0))[:2]]
    colour = RED if face.rng.random() < 0.8 else BLACK
    face.draw.polygon(hand, fill=colour)
    face.disc(x, y, 0.28 * radius, colour)


def _draw_star(face: _Face, radius: float) -> None:
    """The toothed wheel that shows whether water flows."""
    room = face.find_room(radius, radius)
    if room is None:
        return
    x, y = (room[0] + room[2]) / 2, (room[1] + room[3]) / 2
    teeth = int(face.rng.choice((3, 6, 8, 12)))
    start = float(face.rng.uniform(0, math.tau))
    points: list[float] = []
    for index in range(2 * teeth):
        reach, angle = radius * (1.0 if index % 2 else 0.5), start + math.pi * index / teeth
        points += face.at((x + reach * math.cos(angle), y + reach * math.sin(angle), 0, 0))[:2]
    face.draw.polygon(points, fill=(BLACK, BLUE, RED)[int(face.rng.integers(3))])
    face.disc(x, y, radius * 0.25, scaled(face.paper, 0.9))


def _draw_distractor(face: _Face) -> None:
    """Draw an object of the strip's size and contrast, so that a network must learn more than contrast."""
    rng = face.rng
    kind = int(rng.integers(4))
    room = face.find_room(float(rng.uniform(0.2, 0.44)), float(rng.uniform(0.05, 0.1)))
    if room is None:
        return
    x, y, height = (room[0] + room[2]) / 2, (room[1] + room[3]) / 2, room[3] - room[1]
    serial = "".join(str(digit) for digit in rng.integers(0, 10, max(4, int((room[2] - room[0]) / height * 1.5))))
    if kind == 0:
        draw_bar_code(rng, face.draw, face.at(room))
    elif kind == 1:
        plate = (WHITE, BLACK)[int(rng.integers(2))]
        face.draw.rectangle(face.at(room), fill=plate, outline=face.ink, width=2)
        face.text(x, y, height * 0.75, serial, BLACK if plate == WHITE else WHITE)
    elif kind == 2:
        face.draw.rectangle(face.at(room), fill=pick(rng, (RED, BLUE, BLACK, (40, 130, 80), WHITE)))
        face.text(x, y, height * 0.7, BRANDS[int(rng.integers(len(BRANDS)))], WHITE)
    else:
        face.text(x, y, height, serial, face.ink)


def draw_bar_code(rng: np.random.Generator, pen: ImageDraw.ImageDraw, box: Box) -> None:
    """Black bars on white within `box`, in pixels of the pen's image."""
    pen.rectangle(box, fill=WHITE)
    edges = np.cumsum(rng.uniform(0.4, 2.0, 44))
    xs = box[0] + (box[2] - box[0]) * (0.03 + 0.94 * edges / edges[-1])
    top = box[1] + 1
    for start, end in zip(xs[0::2].tolist(), xs[1::2].tolist(), strict=True):
        pen.rectangle((start, top, max(start, end - 1), max(top, box[3] - 1)), fill=BLACK)


def _draw_label(face: _Face) -> None:
    rng = face.rng
    texts = BRANDS if rng.random() < 0.3 else LABELS
    text, height = texts[int(rng.integers(len(texts)))], float(rng.uniform(0.06, 0.15))
    room = face.find_room(0.28 * height * len(text), height / 2)
    if room is not None:
        colour = face.ink if rng.random() < 0.6 else (RED if sum(face.paper) > 240 else WHITE)
        face.text((room[0] + room[2]) / 2, (room[1] + room[3]) / 2, height, text, colour)
