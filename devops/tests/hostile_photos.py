"""Hostile photos: mutated, two formats at once, and small files that announce or become much."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Final

from hard_photos import HEIC, animated, many_scans, stored
from PIL import Image

FORMATS: Final = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "AVIF")


@cache
def picture(kind: str) -> bytes:
    """A sound photo of a format."""
    return stored(kind)


def changed(content: bytes, chance: random.Random, most: int = 12) -> bytes:
    """Bytes that are flipped, cut out, doubled or inserted in a few places."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, most)):
        at, length = chance.randrange(len(changed) + 1), chance.choice((1, 1, 1, 2, 4, 64))
        how = chance.randrange(4)
        if how == 0:
            changed[at : at + length] = chance.randbytes(min(length, len(changed) - at))
        elif how == 1:
            del changed[at : at + length]
        elif how == 2:
            changed[at:at] = changed[at : at + length]
        else:
            changed[at:at] = chance.choice((b"\r\n", b"\x00", b"--b", b"--b--", b'"', b";", chance.randbytes(length)))
    return bytes(changed)


@cache
def _animated() -> bytes:
    return animated("GIF")


def _png(width: int, height: int, data: bytes, before: bytes = b"") -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + before + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _huge_png(chance: random.Random) -> bytes:
    side = chance.choice((20_001, 60_000, 2**31 - 1, 0))
    return _png(side, chance.choice((1, side)), zlib.compress(bytes(1000)))


@cache
def _zeros() -> bytes:
    return zlib.compress(bytes(60 * 2**20), 9)


def _png_of_zeros(chance: random.Random) -> bytes:
    """Sixty kilobytes that become as many megabytes, in a picture that announces little."""
    return _png(chance.choice((16, 2000)), 16, _zeros())


def _text_bomb(_: random.Random) -> bytes:
    content = b"zTXt" + b"a\0\0" + _zeros()
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    return _png(16, 16, zlib.compress(bytes(16 * 49)), chunk * 3)


def _huge_sides(chance: random.Random) -> bytes:
    """A sound photo with other sides in its header."""
    sides = chance.choice(
        (b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\x00\x00\x00\x80", bytes(4), b"\xff\xff\x00\x00")
    )
    kind, at = chance.choice(
        (("BMP", 18), ("BMP", 22), ("GIF", 6), ("JPEG", 163), ("WEBP", 24), ("WEBP", 26), ("TIFF", 18))
    )
    content = picture(kind)
    return content[:at] + sides[: 2 if kind == "GIF" else 4] + content[at + (2 if kind == "GIF" else 4) :]


def _large_plain(chance: random.Random) -> bytes:
    """A photo of one colour that is as large as may be: all work, no bytes."""
    stream = io.BytesIO()
    kind, mode = chance.choice((("JPEG", "L"), ("PNG", "1"), ("GIF", "P")))
    Image.new(mode, (2000, 1500)).save(stream, kind)
    return stream.getvalue()


@cache
def _scans() -> bytes:
    return many_scans((2000, 1500), 400)


def mutated(chance: random.Random) -> bytes:
    """A photo of any format, cut off or changed, mostly in its header."""
    content = chance.choice((*map(picture, FORMATS), HEIC, _animated()))
    if chance.random() < 0.3:
        content = content[: chance.randrange(len(content))]
    else:  # mostly in the header
        at = chance.choice((64, 256, len(content)))
        content = changed(content[:at], chance) + content[at:]
    return content


def polyglot(chance: random.Random) -> bytes:
    """A photo that is another file, too."""
    other = chance.choice(
        (
            b"PK\x03\x04" + bytes(99),
            b"%PDF-1.7\n",
            b"<script>alert(1)</script>",
            b"#!/bin/sh\nid\n",
            b"MZ" + bytes(60),
            b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><svg>&b;</svg>",
            b"%!PS\n(/etc/passwd)(r)file\n",
            HEIC,
        )
    )
    photo = picture(chance.choice(FORMATS))
    return chance.choice((other, photo + other, other + photo))


def bomb(chance: random.Random) -> bytes:
    """A file that costs more than it seems to."""
    return chance.choice(BOMBS)(chance)


BOMBS: Final[tuple[Callable[[random.Random], bytes], ...]] = (
    _huge_png,
    _png_of_zeros,
    _text_bomb,
    _huge_sides,
    _large_plain,
    lambda _: _scans(),
)
