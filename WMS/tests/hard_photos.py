"""Photos that are hard to read: of unusual formats, of phones, and files made to cost much."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from PIL import Image
from servers import cannot_test

from wms.data.heic import can_read_heic

HEIC: Final = (Path(__file__).parent / "photos" / "plain.heic").read_bytes()
"""A photo of 64 x 48 pixels, written by pillow-heif 1.8.1: a red, a green, a blue and a white quarter."""

TURNED_HEIC: Final = (Path(__file__).parent / "photos" / "turned.heic").read_bytes()
"""The same pixels, stored with EXIF orientation 6: upright they are 48 x 64."""


@pytest.fixture
def heic_decoder() -> None:
    """For tests that decode HEIC: without the group `heic` they can't run."""
    if not can_read_heic():
        cannot_test("the group heic isn't installed")


def picture(size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Soft colour noise."""
    small = np.random.default_rng(3).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def stored(image_format: str, size: tuple[int, int] = (64, 48), **options: Any) -> bytes:
    """The picture as a file."""
    stream = io.BytesIO()
    picture(size).save(stream, image_format, **options)
    return stream.getvalue()


def animated(image_format: str) -> bytes:
    """The picture, followed by two black frames."""
    stream = io.BytesIO()
    frames = [Image.new("RGB", (64, 48), (0, 0, shade)) for shade in (0, 9)]
    options = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100}}.get(image_format, {})
    picture().save(stream, image_format, save_all=True, append_images=frames, duration=50, **options)
    return stream.getvalue()


def many_scans(size: tuple[int, int] = (8000, 6000), scans: int = 1500) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    stream = io.BytesIO()
    Image.new("RGB", size).save(stream, "JPEG", progressive=True)
    content = stream.getvalue()
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + last * scans + content[-2:]


def thin(image_format: str = "PNG") -> bytes:
    """A file of a few bytes, whose picture has 50,000 x 1 pixels."""
    stream = io.BytesIO()
    Image.new("L", (50_000, 1)).save(stream, image_format)
    return stream.getvalue()


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of 8 x 8 black pixels with `chunks` before the pixels."""
    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(bytes(8 * 25))), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + body
