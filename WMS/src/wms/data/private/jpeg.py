"""JPEG: the segments before and between the scans; the scans' bytes are kept as they are."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from wms.data.private import tiff
from wms.data.private.pieces import Stripped, names_place

_EXIF: Final = b"Exif\0\0"
_APP0, _APP1, _SCAN, _END = 0xE0, 0xE1, 0xDA, 0xD9
_ALONE: Final = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})
_KEPT: Final = {_APP0: b"JFIF\0", 0xE2: b"ICC_PROFILE\0", 0xEE: b"Adobe"}
"""The applications' segments that tell how pixels are shown: marker -> how the segment begins."""

_DECODING: Final = frozenset({*range(0xC0, 0xD0), *range(0xDB, 0xE0), _SCAN})
_AFTER_SCAN: Final = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
_MOST: Final = 0xFFFF - 2 - len(_EXIF)


@dataclass
class _Parts:
    """The pieces that stay, and the bytes of the EXIF segments, which have one place among them."""

    kept: list[bytes] = field(default_factory=list)
    exif: list[bytes] = field(default_factory=list)
    exif_at: int | None = None
    scanning: bool = False
    place: bool = False


def strip(content: bytes, turn: int) -> Stripped:
    """Strip a JPEG file: comments, XMP, IPTC, thumbnails, and all behind the picture's end leave."""
    parts = _Parts([content[:2]])
    at = 2
    while at < len(content):
        at = _segment(content, at, parts)
    block = b"".join(parts.exif)
    new, place = tiff.exif(block, turn) if parts.exif else (b"" if turn == 1 else tiff.minimal(turn), False)
    if len(new) > _MOST:
        new = tiff.minimal(turn)
    if new:
        size = len(_EXIF) + len(new) + 2
        piece = b"\xff\xe1" + size.to_bytes(2, "big") + _EXIF + new
        first = 2 if len(parts.kept) > 1 and parts.kept[1][1] == _APP0 else 1
        parts.kept.insert(first if parts.exif_at is None else parts.exif_at, piece)
    return Stripped(b"".join(parts.kept), place or parts.place)


def _segment(content: bytes, at: int, parts: _Parts) -> int:
    """Take the segment at an offset; return where the next one begins."""
    if content[at] != 0xFF:  # bytes that decoders pass over
        found = content.find(b"\xff", at)
        return len(content) if found < 0 else found
    start = at
    while at + 1 < len(content) and content[at + 1] == 0xFF:
        at += 1
    if at + 1 >= len(content):
        return len(content)
    marker = content[at + 1]
    if marker == _END:
        padding = content[at + 2 :]
        parts.kept.append(content[start : at + 2] + (b"" if padding.strip(b"\0") else padding))
        return len(content)
    if marker in _ALONE:
        parts.kept.append(content[start : at + 2])
        return at + 2
    end = at + 2 + max(2, int.from_bytes(content[at + 2 : at + 4], "big"))
    body = content[at + 4 : end]
    if marker == _SCAN:
        parts.scanning = True
        after = _AFTER_SCAN.search(content, min(end, len(content)))
        end = after.start() if after else len(content)
    if marker in _DECODING or (marker in _KEPT and body.startswith(_KEPT[marker])):
        parts.kept.append(content[start:end])
    elif marker == _APP1 and body.startswith(_EXIF) and not parts.scanning:
        parts.exif_at = len(parts.kept) if parts.exif_at is None else parts.exif_at
        parts.exif.append(body[len(_EXIF) :])
    else:
        parts.place |= names_place(body)
    return end
