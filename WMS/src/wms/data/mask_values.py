"""The stored values of a mask's file: which distinct values or colours it holds, before a rule says what they mean."""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wms.data.images import orientation_in
from wms.data.kinds import FORMATS

MOST: Final = 256
"""A file with more distinct values holds a picture, not classes."""

Keys = NDArray[Any]
_NAN: Final = float("nan")  # one object, so that a dictionary finds it again
_ROWS: Final = 256  # looked at together, which bounds the memory of sorting
_TURNS: Final[dict[int, Callable[[Keys], Keys]]] = {
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).T,
    8: np.rot90,
}


@dataclass(frozen=True, slots=True)
class MaskClass:
    """A distinct value or colour of a mask; `share` is of all pixels (0..1).

    `value` is the stored number or palette index as text, "" where only a colour is stored; `colour` is "R,G,B", or
    "R,G,B,A" where the pixels aren't opaque, and "" for numbers of more than 8 bits.
    """

    value: str
    colour: str
    share: float

    def __str__(self) -> str:
        plain = not self.colour or self.colour == ",".join([self.value] * 3)
        name = self.value if plain else " = ".join(filter(None, [self.value, self.colour]))
        return f"{name} ({self.share:.2%})"

    def is_named(self, name: str) -> bool:
        """Whether `name`, as `number_text` or `colour_text` writes it, is this class's."""
        return name in (self.value, self.colour)


@dataclass(frozen=True, slots=True)
class Found:
    """A class with the key of its pixels in `Stored.keys`."""

    key: Any
    told: MaskClass
    shown: tuple[int, ...] | None
    """The colour that a viewer shows, with alpha; None for numbers that aren't colours."""
    is_black: bool
    is_clear: bool
    """Whether the pixels are wholly transparent."""

    @property
    def strength(self) -> float:
        """How far the class is from black or nothing."""
        if self.shown is None:
            return abs(float(self.told.value)) if self.told.value else float("inf")
        return max(1, sum(self.shown[:3])) * self.shown[3]


@dataclass(frozen=True, slots=True)
class Stored:
    """A mask's pixels as stored, upright: equal `keys` (H, W) are equal values."""

    keys: Keys
    found: tuple[Found, ...] | None
    """The distinct values, or None if there are more than MOST."""
    orientation: int
    """How the file was stored, 1..8."""
    is_lossy: bool
    keyed: bool
    """Whether a single colour is declared transparent, in a file without an alpha channel."""
    has_alpha: bool
    is_shortened: bool
    """Whether the colours have more bits than are read."""

    @property
    def is_numbers(self) -> bool:
        """Whether the pixels are numbers of more than 8 bits rather than colours."""
        return self.keys.dtype.kind in "if" or self.keys.dtype == np.uint16


def stored_values(image: Image.Image, content: bytes) -> Stored:
    """The values of an opened image with decoded pixels; `content` is the file. Raises Pillow's errors on damage."""
    keys, found = _values(image, content)
    orientation = orientation_in(content)
    clear = "transparency" in image.info
    return Stored(
        keys=_upright(keys, orientation),
        found=found,
        orientation=orientation,
        is_lossy=_is_lossy(image, content),
        keyed=clear and (image.mode != "P" or isinstance(image.info["transparency"], int)),
        has_alpha=clear or image.mode in ("LA", "PA", "RGBA"),
        is_shortened=image.format == "TIFF" and len(image.getbands()) > 1 and _bits(image) > 8,
    )


def frames_of(content: bytes) -> int:
    """How many pictures a file holds; 1 if the file doesn't tell."""
    with warnings.catch_warnings(), contextlib.suppress(Exception):  # Pillow raises many kinds of errors on odd bytes
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return int(getattr(image, "n_frames", 1))
    return 1


def number_text(number: float) -> str:
    """A number as a class is named by: "1", "0.4", "nan"."""
    return str(int(number)) if np.isfinite(number) and number == int(number) else f"{number:.6g}"


def colour_text(colour: Iterable[int]) -> str:
    """A colour as a class is named by: "128,0,0"; an alpha of 255 isn't told."""
    parts = [int(part) for part in colour]
    return ",".join(map(str, parts[:3] if parts[3:] in ([], [255]) else parts))


def alpha_of(image: Image.Image, orientation: int) -> NDArray[np.uint8]:
    """The alpha channel, upright (H, W)."""
    return _upright(np.asarray(image.convert("RGBA"))[..., 3], orientation)


def _upright(keys: Keys, orientation: int) -> Keys:
    turn = _TURNS.get(orientation)
    return keys if turn is None else turn(keys)


def _values(image: Image.Image, content: bytes) -> tuple[Keys, tuple[Found, ...] | None]:
    if _is_deep_colour(content):
        return _deep_colours(image, content)
    if image.mode.startswith("I") or image.mode == "F":
        return _numbers(np.asarray(image), image.info.get("transparency"))
    if image.mode in ("1", "L") and "transparency" not in image.info:
        keys = np.asarray(image.convert("L"))
        return keys, tuple(
            _colour(value, (value,) * 3, count / keys.size)
            for value, count in enumerate(np.bincount(keys.ravel(), minlength=256).tolist())
            if count
        )
    if image.mode == "P":
        return _indices(image)
    return _colours(image)


def _indices(image: Image.Image) -> tuple[Keys, tuple[Found, ...]]:
    keys = np.asarray(image)
    every = image.resize((256, 1), Image.Resampling.NEAREST)
    every.putdata(range(256))
    colours = np.asarray(every.convert("RGBA"))[0].tolist()
    known = len(image.getpalette() or ()) // 3
    found = []
    for index, count in enumerate(np.bincount(keys.ravel(), minlength=256).tolist()):
        if count and index < known:
            one = _colour(index, tuple(colours[index]), count / keys.size)
            found.append(replace(one, told=replace(one.told, value=str(index))))
        elif count:  # an index that the palette lacks shows as black, but isn't
            found.append(Found(index, MaskClass(str(index), "", count / keys.size), None, False, False))
    return keys, tuple(found)


def _colours(image: Image.Image) -> tuple[Keys, tuple[Found, ...] | None]:
    bands = image if image.mode in ("CMYK", "RGBA") else image.convert("RGBA")
    keys = np.asarray(bands).view(np.uint32)[..., 0]
    counted = bands.getcolors(MOST)
    if counted is None:
        return keys, None
    colours = np.array([colour for _, colour in counted], np.uint8)[None]
    shown = np.asarray(Image.frombytes(bands.mode, (len(counted), 1), colours.tobytes()).convert("RGBA"))[0].tolist()
    names = colours.view(np.uint32)[0, :, 0].tolist()
    return keys, tuple(
        _colour(name, tuple(colour), count / keys.size)
        for name, colour, (count, _) in zip(names, shown, counted, strict=True)
    )


def _numbers(keys: Keys, clear: object = None) -> tuple[Keys, tuple[Found, ...] | None]:
    keys = keys.astype(keys.dtype.newbyteorder("="))
    counted = _counted(keys)
    if counted is None:
        return keys, None
    return keys, tuple(
        Found(value, MaskClass(number_text(value), "", count / keys.size), None, value == 0, value == clear)
        for value, count in counted.items()
    )


def _counted(keys: Keys) -> dict[Any, int] | None:
    """Value -> pixels, or None for more than MOST values."""
    counted: dict[Any, int] = {}
    for top in range(0, len(keys), _ROWS):
        part = keys[top : top + _ROWS].ravel()
        # A mask has few runs of equal values; sorting their values is quicker than sorting all pixels.
        starts = np.concatenate([[0], np.flatnonzero(part[1:] != part[:-1]) + 1])
        values, at = np.unique(part[starts], return_inverse=True)
        if len(values) > MOST:
            return None
        counts = np.bincount(at, np.diff(starts, append=part.size))
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            name = _NAN if isinstance(value, float) and math.isnan(value) else value
            counted[name] = counted.get(name, 0) + int(count)
    return counted if len(counted) <= MOST else None


def _colour(key: int, shown: tuple[int, ...], share: float) -> Found:
    red, green, blue, alpha = shown if len(shown) == 4 else (*shown, 255)
    value = str(red) if red == green == blue and alpha == 255 else ""
    told = MaskClass(value, colour_text((red, green, blue, alpha)), share)
    return Found(key, told, (red, green, blue, alpha), not (red or green or blue), alpha == 0)


def _is_deep_colour(content: bytes) -> bool:
    """Whether a file is a PNG with 16 bits a channel and several channels, of which Pillow keeps the upper 8 bits."""
    return content.startswith(b"\x89PNG") and content[24:25] == b"\x10" and content[25:26] in (b"\2", b"\4", b"\6")


def _deep_colours(image: Image.Image, content: bytes) -> tuple[Keys, tuple[Found, ...] | None]:
    with Image.open(io.BytesIO(content), formats=("PNG",)) as again:
        if content[25] == 4:  # grey and alpha, two bytes each, fit the four channels of RGBA
            again._mode = "RGBA"
            again.tile = [tile._replace(args="RGBA") for tile in again.tile]
            four = np.asarray(again)
            low = np.dstack([four[..., 1]] * 3 + [four[..., 3]])
        else:
            again.tile = [tile._replace(args=str(tile.args).replace(";16B", ";16L")) for tile in again.tile]
            low = np.asarray(again.convert("RGBA"))
            if content[25] == 2:
                low = np.dstack([low[..., :3], np.full(low.shape[:2], 255, np.uint8)])
    high = np.asarray(image.convert("RGBA"))
    keys = np.ascontiguousarray(high).view(np.uint32)[..., 0].astype(np.uint64) << np.uint64(32)
    keys |= np.ascontiguousarray(low).view(np.uint32)[..., 0]
    counted = _counted(keys)
    if counted is None:
        return keys, None
    return keys, tuple(_deep_colour(key, count / keys.size) for key, count in counted.items())


def _deep_colour(key: int, share: float) -> Found:
    high, low = (np.frombuffer(np.uint32(part).tobytes(), np.uint8) for part in (key >> 32, key & 0xFFFFFFFF))
    one = _colour(key, tuple(high.tolist()), share)
    wide = [int(upper) << 8 | int(lower) for upper, lower in zip(high, low, strict=True)]
    if all(value % 257 == 0 for value in wide):
        return one
    told = MaskClass("", colour_text(wide[:3]), share)
    return Found(key, told, None, not any(wide[:3]), wide[3] == 0)


def _bits(image: Image.Image) -> int:
    """Bits a channel, as a TIFF's tag 258 tells."""
    bits = getattr(image, "tag_v2", {}).get(258, (8,))
    return max(bits) if isinstance(bits, tuple) else int(bits)


def _is_lossy(image: Image.Image, content: bytes) -> bool:
    if image.format == "WEBP":
        at = 12
        while at + 8 <= len(content):  # the chunks of a RIFF file
            if content[at : at + 4] in (b"VP8L", b"VP8 "):
                return content[at : at + 4] == b"VP8 "
            at += 8 + int.from_bytes(content[at + 4 : at + 8], "little")
            at += at % 2
        return b"VP8L" not in content  # frames of an animation lie inside other chunks
    return image.format not in ("PNG", "BMP", "TIFF", "GIF") or "jpeg" in str(image.info.get("compression", ""))
