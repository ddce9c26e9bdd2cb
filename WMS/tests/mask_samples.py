"""Mask files as tools write them, each with the strip that is right or with the way it is refused."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Strip = NDArray[np.bool_]
BLACK: Final = (0, 0, 0)


@dataclass(frozen=True)
class Sample:
    """A kind of mask: `draw` stores a strip (H, W) as bytes; `reads` is "strip", "all", "nothing" or an error's name.

    `name` is the option that makes `--fix` write the strip where a person has to name the class.
    """

    suffix: str
    draw: Callable[[Strip], bytes]
    reads: str = "strip"
    name: tuple[str, ...] = ()


def stored(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of a picture's file."""
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def grey(
    mark: int, rest: int = 0, dtype: Any = np.uint8, kind: str = "PNG", **options: Any
) -> Callable[[Strip], bytes]:
    """Draws the strip by a number."""
    return lambda strip: stored(Image.fromarray(np.where(strip, mark, rest).astype(dtype)), kind, **options)


def paint(
    mark: tuple[int, ...], rest: tuple[int, ...], mode: str = "", kind: str = "PNG", **options: Any
) -> Callable[[Strip], bytes]:
    """Draws the strip in a colour of `mode`."""

    def draw(strip: Strip) -> bytes:
        pixels = np.where(strip[..., None], np.array(mark, np.uint8), np.array(rest, np.uint8))
        modes = {2: "LA", 3: "RGB", 4: "RGBA"}
        picture = Image.frombytes(mode or modes[len(mark)], strip.shape[::-1], pixels.tobytes())
        return stored(picture, kind, **options)

    return draw


def palette(
    colours: list[tuple[int, int, int]], mark: int = 1, rest: int = 0, **options: Any
) -> Callable[[Strip], bytes]:
    """Draws the strip by an index of a palette."""

    def draw(strip: Strip) -> bytes:
        picture = Image.fromarray(np.where(strip, mark, rest).astype(np.uint8)).convert("L")
        picture = Image.frombytes("P", picture.size, picture.tobytes())
        picture.putpalette([part for colour in colours for part in colour])
        return stored(picture, **options)

    return draw


def layers(*values: Any, dtype: Any = np.uint8, kind: str = "PNG") -> Callable[[Strip], bytes]:
    """Draws black, the strip, and what is given beyond the strip: its edge, and areas of their own."""

    def draw(strip: Strip) -> bytes:
        shape = (*strip.shape, 3) if isinstance(values[0], tuple) else strip.shape
        pixels = np.zeros(shape, dtype)
        pixels[edge(strip)] = values[1]
        for number, value in enumerate(values[2:]):
            pixels[:3, 3 * number : 3 * number + 3] = value
        pixels[strip] = values[0]
        return stored(Image.fromarray(pixels), kind)

    return draw


def edge(strip: Strip) -> Strip:
    """The line around a strip."""
    return np.asarray(Image.fromarray(strip.astype(np.uint8)).filter(ImageFilter.MaxFilter(3))).astype(bool) & ~strip


def soft(colour: tuple[int, int, int], kind: str = "PNG", **options: Any) -> Callable[[Strip], bytes]:
    """Draws the strip with soft edges, which are cut at half where the strip ends."""

    def draw(strip: Strip) -> bytes:
        shares = Image.fromarray(strip.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(0.6))
        pixels = np.asarray(shares, np.float64)[..., None] / 255 * np.array(colour)
        return stored(Image.fromarray(pixels.round().astype(np.uint8)), kind, **options)

    return draw


def png16(colour_type: int, mark: tuple[int, ...], rest: tuple[int, ...]) -> Callable[[Strip], bytes]:
    """Draws the strip in a PNG of 16 bits and several channels, which Pillow doesn't write."""

    def draw(strip: Strip) -> bytes:
        pixels = np.where(strip[..., None], np.array(mark), np.array(rest)).astype(">u2")
        rows = b"".join(b"\0" + row.tobytes() for row in pixels)
        header = struct.pack(">IIBBBBB", strip.shape[1], strip.shape[0], 16, colour_type, 0, 0, 0)
        chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in chunks
        )

    return draw


def turned(strip: Strip) -> bytes:
    """A mask of 0 and 1 with an EXIF orientation, as stored by a camera held on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return stored(Image.fromarray(np.rot90(strip.astype(np.uint8))), exif=exif)


def frames(kind: str, first: bool) -> Callable[[Strip], bytes]:
    """Draws the strip in one of two pictures of a file, the other being empty."""

    def draw(strip: Strip) -> bytes:
        pictures = [Image.fromarray(strip.astype(np.uint8) * 255), Image.new("L", strip.shape[::-1])]
        one, two = pictures if first else pictures[::-1]
        return stored(one, kind, save_all=True, append_images=[two])

    return draw


def ramp_alpha(strip: Strip) -> bytes:
    """A black strip that fades out at the edges."""
    alpha = Image.fromarray(strip.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(0.6))
    return stored(Image.merge("RGBA", [*[Image.new("L", alpha.size)] * 3, alpha]))


def noise(strip: Strip) -> bytes:
    """Grey noise, as a photo given by mistake."""
    return stored(Image.fromarray(np.random.default_rng(1).integers(0, 256, strip.shape).astype(np.uint8)))


def from_jpeg(strip: Strip) -> bytes:
    """A JPEG mask that was saved again as PNG."""
    content = stored(Image.fromarray(strip.astype(np.uint8) * 255), "JPEG", quality=60)
    with Image.open(io.BytesIO(content)) as picture:
        return stored(picture)


_VOC: Final = [BLACK, (128, 0, 0), (0, 128, 0), (224, 224, 192)]

READ: Final[Mapping[str, Sample]] = {
    "8 bits: 0, 255": Sample("png", grey(255)),
    "8 bits: 0, 1": Sample("png", grey(1)),
    "8 bits: 0, 2": Sample("png", grey(2)),
    "8 bits: 0, 128": Sample("png", grey(128)),
    "8 bits, white behind black": Sample("png", lambda s: grey(0, 255)(~s)),
    "1 bit": Sample("png", lambda s: stored(Image.fromarray(s))),
    "16 bits: 0, 1": Sample("png", grey(1, dtype=np.uint16)),
    "16 bits: 0, 1000": Sample("png", grey(1000, dtype=np.uint16)),
    "16 bits: 0, 65535": Sample("png", grey(65535, dtype=np.uint16)),
    "16 bits, big-endian: 0, 3": Sample("tif", grey(3, dtype=">u2", kind="TIFF")),
    "32 bits: 0, 1": Sample("tif", grey(1, dtype=np.int32, kind="TIFF")),
    "32 bits: 0, 70000": Sample("tif", grey(70000, dtype=np.int32, kind="TIFF")),
    "32 bits: 0, -1": Sample("tif", grey(-1, dtype=np.int32, kind="TIFF")),
    "float: 0, 0.4": Sample("tif", lambda s: stored(Image.fromarray(s * np.float32(0.4)), "TIFF")),
    "float: 0, 1": Sample("tif", grey(1, dtype=np.float32, kind="TIFF")),
    "red": Sample("png", paint((255, 0, 0), BLACK)),
    "green": Sample("png", paint((0, 255, 0), BLACK)),
    "blue": Sample("bmp", paint((0, 0, 255), BLACK, kind="BMP")),
    "dark red": Sample("png", paint((128, 0, 0), BLACK)),
    "nearly black": Sample("png", paint((1, 0, 2), BLACK)),
    "white, three channels": Sample("png", paint((255,) * 3, BLACK)),
    "LZW": Sample("tif", grey(255, kind="TIFF", compression="tiff_lzw")),
    "fax G4": Sample("tif", lambda s: stored(Image.fromarray(s), "TIFF", compression="group4")),
    "lossless WebP, red": Sample("webp", paint((255, 0, 0), BLACK, kind="WEBP", lossless=True)),
    "palette, (128,0,0)": Sample("png", palette(_VOC[:2])),
    "palette, index 3 is blue": Sample("png", palette([BLACK, (9, 9, 9), (8, 8, 8), (0, 0, 255)], mark=3)),
    "palette, white": Sample("png", palette([BLACK, (255,) * 3])),
    "palette, white first": Sample("png", palette([(255,) * 3, BLACK], mark=0, rest=1)),
    "palette of greys": Sample("png", palette([(v, v, v) for v in range(256)], mark=2)),
    "palette, index 0 is transparent": Sample("png", palette([BLACK, BLACK], transparency=0)),
    "black on nothing": Sample("png", paint((0, 0, 0, 255), (0, 0, 0, 0))),
    "black on transparent white": Sample("png", paint((0, 0, 0, 255), (255, 255, 255, 0))),
    "white on transparent white": Sample("png", paint((255, 255, 255, 255), (255, 255, 255, 0))),
    "half-transparent white": Sample("png", paint((255, 255, 255, 100), (0, 0, 0, 0))),
    "half-transparent red on opaque black": Sample("png", paint((255, 0, 0, 100), (0, 0, 0, 255))),
    "grey with alpha": Sample("png", paint((255, 128), (0, 0))),
    "black that fades out": Sample("png", ramp_alpha),
    "white declared transparent behind red": Sample("png", paint((255, 0, 0), (255,) * 3, transparency=(255,) * 3)),
    "CMYK": Sample("tif", paint((0, 255, 255, 0), (0, 0, 0, 255), mode="CMYK", kind="TIFF")),
    "16 bits, three channels: 1": Sample("png", png16(2, (1, 1, 1), BLACK)),
    "16 bits, three channels: 65535, 0, 0": Sample("png", png16(2, (65535, 0, 0), BLACK)),
    "16 bits, four channels: alpha 1": Sample("png", png16(6, (0, 0, 0, 1), (0, 0, 0, 0))),
    "16 bits, grey and alpha: 300": Sample("png", png16(4, (300, 65535), (0, 65535))),
    "soft white": Sample("png", soft((255,) * 3)),
    "soft grey, 100": Sample("png", soft((100,) * 3)),
    "soft red": Sample("png", soft((255, 0, 0))),
    "soft white, JPEG": Sample("jpg", soft((255,) * 3, "JPEG")),
    "red, JPEG": Sample("jpg", soft((255, 0, 0), "JPEG", quality=90, subsampling=0)),
    "dark red, JPEG": Sample("jpg", soft((128, 0, 0), "JPEG", quality=90, subsampling=0)),
    "soft white, WebP": Sample("webp", soft((255,) * 3, "WEBP", quality=90)),
    "JPEG saved as PNG": Sample("png", from_jpeg),
    "turned on its side": Sample("png", turned),
    "two pages, the strip on the first": Sample("tif", frames("TIFF", first=True)),
    "animated PNG, the strip on the first": Sample("png", frames("PNG", first=True)),
    "GIF, red": Sample("gif", palette([BLACK, (255, 0, 0)], kind="GIF")),
    "1 everywhere": Sample("png", lambda s: grey(1)(s | True), "all"),
    "white everywhere": Sample("png", lambda s: grey(255)(s | True), "all"),
    "red everywhere": Sample("png", lambda s: paint((255, 0, 0), BLACK)(s | True), "all"),
    "black everywhere": Sample("png", lambda s: grey(255)(s & False), "nothing"),
    "transparent everywhere": Sample("png", paint((0, 0, 0, 0), (0, 0, 0, 0)), "nothing"),
}
"""The masks that are read."""

REFUSED: Final[Mapping[str, Sample]] = {
    "0, 1, and 255 at the edge": Sample("png", layers(1, 255), "MaskClassesError", ("--class", "1")),
    "16 bits: 0, 1, and 65535 at the edge": Sample(
        "png", layers(1, 65535, dtype=np.uint16), "MaskClassesError", ("--class", "1")
    ),
    "float: 0, 0.5, and 1 at the edge": Sample(
        "tif", layers(0.5, 1, dtype=np.float32, kind="TIFF"), "MaskClassesError", ("--class", "0.5")
    ),
    "0, 1, 2, 3": Sample("png", layers(2, 1, 3), "MaskClassesError", ("--class", "2")),
    "0, 128, 255": Sample("png", layers(255, 0, 128), "MaskClassesError", ("--class", "255")),
    "dark red in a cream edge": Sample("png", layers(_VOC[1], _VOC[3]), "MaskClassesError", ("--colour", "128,0,0")),
    "red and green": Sample(
        "png", layers((255, 0, 0), BLACK, (0, 255, 0)), "MaskClassesError", ("--colour", "255,0,0")
    ),
    "red on white": Sample("png", paint((255, 0, 0), (255,) * 3), "MaskClassesError", ("--colour", "255,0,0")),
    "palette, index 1 on 2, neither black": Sample(
        "png", palette([BLACK, (9, 9, 9), (1, 2, 3)], 1, 2), "MaskClassesError", ("--class", "1")
    ),
    "palette of two blacks": Sample("png", palette([BLACK, BLACK]), "MaskClassesError", ("--class", "1")),
    "white declared transparent on black": Sample(
        "png", grey(255, transparency=255), "MaskClassesError", ("--colour", "255,255,255,0")
    ),
    "white hidden by transparency": Sample(
        "png", paint((255, 255, 255, 0), (0, 0, 0, 0)), "MaskClassesError", ("--colour", "255,255,255,0")
    ),
    "0 and not a number": Sample(
        "tif", lambda s: stored(Image.fromarray(np.where(s, np.float32("nan"), np.float32(0))), "TIFF"),
        "MaskClassesError", ("--class", "nan"),
    ),
    "negative labels": Sample(
        "tif", layers(-1, -2, dtype=np.int32, kind="TIFF"), "MaskClassesError", ("--class", "-1")
    ),
    "GIF, white declared transparent behind black": Sample(
        "gif", palette([(255,) * 3, BLACK], kind="GIF", transparency=0), "MaskClassesError", ("--class", "1")
    ),
    "GIF of three colours": Sample(
        "gif", lambda s: stored(three_colours(s), "GIF"), "MaskClassesError", ("--colour", "128,0,0")
    ),
    "grey noise": Sample("png", noise, "GreyMaskError"),
    "one grey everywhere": Sample("png", lambda s: grey(120)(s | True), "GreyMaskError"),
    "a grey ramp": Sample("png", lambda s: stored(Image.linear_gradient("L").resize(s.shape[::-1])), "GreyMaskError"),
    "red and green, JPEG": Sample(
        "jpg", lambda s: jpeg(layers((255, 0, 0), BLACK, *[(0, 255, 0)] * 12)(s)), "GreyMaskError"
    ),
    "two pages, the strip on the second": Sample("tif", frames("TIFF", first=False), "EmptyMaskError"),
    "animated PNG, the strip on the second": Sample("png", frames("PNG", first=False), "EmptyMaskError"),
}  # fmt: skip
"""The masks that a person has to mend, or whose strip a person has to name."""


def three_colours(strip: Strip) -> Image.Image:
    """A palette's picture with the strip in dark red, and a cream edge."""
    with Image.open(io.BytesIO(layers(_VOC[1], _VOC[3])(strip))) as picture:
        return picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=3)


def jpeg(content: bytes) -> bytes:
    """A picture's file as JPEG."""
    with Image.open(io.BytesIO(content)) as picture:
        return stored(picture, "JPEG", quality=95, subsampling=0)
