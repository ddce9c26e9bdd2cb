"""Takes the metadata out of a picture's bytes before a decoder sees them, and reads the orientation.

Cameras and programs write odd metadata, on which decoders give up although the pixels are perfect. So the decoder gets
what the pixels need, and the orientation, the only wanted field, is read here.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

ORIENTATION_TAG: Final = 0x0112

_EXIF: Final = b"Exif\0\0"
_TIFFS: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_XMP: Final = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
_MOST_BYTES: Final = 1 << 20  # of a compressed text
_TYPES: Final = {1: "B", 3: "H", 4: "I"}  # of an orientation: BYTE, SHORT, LONG
_PNG_KEEPS: Final = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_WEBP_DROPS: Final = frozenset({b"EXIF", b"XMP ", b"ICCP"})
_WEBP_FLAGS: Final = 0x2C  # that these chunks are present
# The fields that the pixels of a TIFF need, without the orientation.
_TIFF_KEEPS: Final = frozenset(
    {254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 332}
    | {338, 339, 340, 341, 347, 512, 513, 514, 515, 519, 520, 521, 529, 530, 531, 532}
)


@dataclass(frozen=True, slots=True)
class Bare:
    """A picture's bytes without metadata, and its orientation by EXIF or XMP, 1..8; 1 for none that is readable."""

    content: bytes
    orientation: int


def bare(content: bytes) -> Bare:
    """The picture without metadata; a file of another kind, or one that is damaged, stays as is."""
    try:
        if content.startswith(b"\xff\xd8"):
            return _jpeg(content)
        if content.startswith(b"\x89PNG\r\n\x1a\n"):
            return _png(content)
        if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
            return _webp(content)
        if content[:4] in _TIFFS:
            return _tiff(content)
        if content[4:8] == b"ftyp":  # AVIF turns its pixels by properties of the picture, which the decoder reads
            head = content.find(b"mdat")
            return Bare(content[:head].replace(b"Exif", b"free") + content[head:], 1)
    except (struct.error, IndexError, zlib.error):  # damaged: the decoder says where
        pass
    return Bare(content, 1)


def _jpeg(content: bytes) -> Bare:
    kept, exif, xmp, place = [content[:2]], b"", b"", 2
    while content[place] == 0xFF:
        mark = content[place + 1]
        if mark == 0xFF:  # a fill byte
            place += 1
            continue
        if mark in (0xDA, 0x01) or 0xD0 <= mark <= 0xD9:
            break
        end = place + 2 + int.from_bytes(content[place + 2 : place + 4], "big")
        data = content[place + 4 : end]
        if mark == 0xE1 and data.startswith(_EXIF):
            exif += data[6:]
        elif mark == 0xE1 and data.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            xmp = data
        is_needed = not (0xE0 <= mark <= 0xEF or mark == 0xFE)
        is_colour = (mark == 0xE0 and data.startswith(b"JFIF\0") and len(data) >= 14) or (
            mark == 0xEE and data.startswith(b"Adobe") and len(data) >= 12
        )
        if is_needed or is_colour:
            kept.append(content[place:end])
        place = end
    return Bare(b"".join([*kept, content[place:]]), orientation_in_block(exif, xmp))


def _png(content: bytes) -> Bare:
    kept, exif, xmp, place = [content[:8]], b"", b"", 8
    while place + 8 <= len(content):
        (length,), name = struct.unpack_from(">I", content, place), content[place + 4 : place + 8]
        data, end = content[place + 8 : place + 8 + length], place + 12 + length
        if name == b"eXIf":
            exif = data.removeprefix(_EXIF)
        elif name in (b"zTXt", b"iTXt", b"tEXt"):
            key, _, text = data.partition(b"\0")
            if key == b"XML:com.adobe.xmp":
                xmp = text
            elif key == b"Raw profile type exif" and not exif:
                exif = _raw_profile(name, text)
        if name in _PNG_KEEPS or not name.isalpha():
            kept.append(content[place:end])
        place = end
        if name == b"IEND":
            break
    return Bare(b"".join(kept), orientation_in_block(exif, xmp))


def _raw_profile(name: bytes, text: bytes) -> bytes:
    """An EXIF block that ImageMagick wrote as hexadecimal digits: a name, a length, the digits."""
    if name == b"zTXt":
        try:
            text = zlib.decompressobj().decompress(text[1:], _MOST_BYTES)
        except zlib.error:
            return b""
    digits = b"".join(text.split()[2:])
    try:
        return bytes.fromhex(digits.decode("ascii")).removeprefix(_EXIF)
    except ValueError:
        return b""


def _webp(content: bytes) -> Bare:
    kept, exif, xmp, place = [], b"", b"", 12
    while place + 8 <= len(content):
        name, (length,) = content[place : place + 4], struct.unpack_from("<I", content, place + 4)
        chunk = content[place : place + 8 + length + length % 2]
        if name == b"EXIF":
            exif = chunk[8 : 8 + length].removeprefix(_EXIF)
        elif name == b"XMP ":
            xmp = chunk
        elif name == b"VP8X":
            chunk = chunk[:8] + bytes((chunk[8] & ~_WEBP_FLAGS,)) + chunk[9:]
        if name not in _WEBP_DROPS:
            kept.append(chunk)
        place += len(chunk)
    body = b"WEBP" + b"".join(kept)
    return Bare(b"RIFF" + struct.pack("<I", len(body)) + body, orientation_in_block(exif, xmp))


def _tiff(content: bytes) -> Bare:
    form, place = _form(content)
    entries = list(_entries(content, form, place))
    kept = [entry for entry in entries if struct.unpack_from(form.order + "H", entry)[0] in _TIFF_KEEPS]
    end = bytes(struct.calcsize(form.offset))  # further pictures aren't read
    folder = struct.pack(form.order + form.count, len(kept)) + b"".join(kept) + end
    return Bare(content[:place] + folder + content[place + len(folder) :], orientation_in_block(content))


def orientation_in_block(exif: bytes, xmp: bytes = b"") -> int:
    """The orientation, 1..8, in an EXIF block, which begins as a TIFF file does, else in XMP; 1 if neither tells."""
    if exif[:4] in _TIFFS and len(exif) >= 16:
        form, place = _form(exif)
        for entry in _entries(exif, form, place):
            tag, kind, count = struct.unpack_from(f"{form.order}HH{form.offset}", entry)
            if tag == ORIENTATION_TAG:
                at = form.entry - struct.calcsize(form.offset)
                value = (
                    struct.unpack_from(form.order + _TYPES[kind], entry, at)[0] if kind in _TYPES and count == 1 else 1
                )
                return int(value) if 1 <= value <= 8 else 1
    found = _XMP.search(xmp)
    return int(found[1]) if found else 1


@dataclass(frozen=True, slots=True)
class _Form:
    """How a TIFF file writes numbers: the byte order, the types of a count and an offset, the bytes of a field."""

    order: str
    count: str
    offset: str
    entry: int


def _form(content: bytes) -> tuple[_Form, int]:
    """A TIFF file's form, and the place of its first folder. Raises struct.error for a file that is too short."""
    order = "<" if content.startswith(b"II") else ">"
    if b"+" in content[2:4]:
        return _Form(order, "Q", "Q", 20), struct.unpack_from(order + "Q", content, 8)[0]
    return _Form(order, "H", "I", 12), struct.unpack_from(order + "I", content, 4)[0]


def _entries(content: bytes, form: _Form, place: int) -> Iterator[bytes]:
    """The fields of a TIFF folder, as far as the file holds them."""
    begin = place + struct.calcsize(form.count)
    if begin <= len(content):
        (count,) = struct.unpack_from(form.order + form.count, content, place)
        for at in range(begin, min(begin + form.entry * count, len(content) - form.entry + 1), form.entry):
            yield content[at : at + form.entry]
