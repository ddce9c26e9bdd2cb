"""AVIF: its boxes; EXIF and XMP are items whose bytes are overwritten in place, so that no offset changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from wms.data.bare import orientation_in_block
from wms.data.private import tiff
from wms.data.private.pieces import OddError, Stripped, names_place

_FOREIGN: Final = (b"uuid", b"udta", b"free", b"skip")


def strip(content: bytes, _turn: int) -> Stripped:
    """Strip an AVIF file; the orientation lies in the picture's own properties, which stay. Raises OddError."""
    new, place = bytearray(content), False
    for name, start, end in _boxes(content, 0, len(content)):
        if name == b"meta":
            for kind, at, to in _metadata(content, start + 4, end):
                place |= names_place(content[at:to])
                piece, found = _emptied(content[at:to], kind)
                place |= found
                new[at:to] = piece
        elif name in _FOREIGN:
            place |= names_place(content[start:end])
            new[start:end] = bytes(end - start)
    return Stripped(bytes(new), place)


def _emptied(piece: bytes, kind: bytes) -> tuple[bytes, bool]:
    """Return the bytes of an item, as many as before, without private metadata, and whether they named a place."""
    if kind != b"Exif":
        return b" " * len(piece), False
    head = 4 + int.from_bytes(piece[:4], "big")
    told = orientation_in_block(piece[head:])
    block, place = tiff.exif(piece[head:], told)
    block = block or tiff.minimal(told)  # readers refuse an empty block
    start = piece[:4] if head <= 10 else (0).to_bytes(4, "big")
    between = piece[4:head] if head <= 10 else b""
    return (start + between + block).ljust(len(piece), b"\0")[: len(piece)], place


def _metadata(content: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield (kind, first byte, end) of each extent of the items that hold metadata."""
    boxes = {name: (at, to) for name, at, to in _boxes(content, start, end)}
    if b"iinf" not in boxes or b"iloc" not in boxes:
        return
    inside = boxes.get(b"idat", (0, 0))[0]
    kinds = dict(_kinds(content, *boxes[b"iinf"]))
    for item, method, at, size in _extents(content, *boxes[b"iloc"]):
        if item in kinds:
            first = at + (inside if method == 1 else 0)
            if method > 1 or first + size > len(content):
                raise OddError("an item elsewhere")
            yield kinds[item], first, first + size


def _kinds(content: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield (item, kind) of the items of metadata."""
    at = start + (6 if content[start] == 0 else 8)
    for name, here, _ in _boxes(content, at, end):
        if name != b"infe" or content[here] < 2:
            continue
        wide = 2 if content[here] == 2 else 4
        item = int.from_bytes(content[here + 4 : here + 4 + wide], "big")
        kind = content[here + 6 + wide : here + 10 + wide]
        if kind in (b"Exif", b"mime"):
            yield item, kind


def _extents(content: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (item, construction method, offset, size) of each extent of each item."""
    reader = _Reader(content, start + 4, end)
    version, sizes = content[start], reader.number(2)
    widths = [(sizes >> shift) & 15 for shift in (12, 8, 4, 0)]
    offset_width, length_width, base_width, index_width = widths
    for _ in range(reader.number(2 if version < 2 else 4)):
        item = reader.number(2 if version < 2 else 4)
        method = reader.number(2) & 15 if version else 0
        reader.number(2)  # the file in which the bytes lie: this one
        base = reader.number(base_width)
        for _ in range(reader.number(2)):
            if version and index_width:
                reader.number(index_width)
            offset = reader.number(offset_width)
            yield item, method, base + offset, reader.number(length_width)


class _Reader:
    """Numbers, one after another."""

    def __init__(self, content: bytes, at: int, end: int) -> None:
        self.content, self.at, self.end = content, at, end

    def number(self, width: int) -> int:
        """Return the next number of `width` bytes. Raises OddError at the box's end."""
        self.at += width
        if self.at > self.end:
            raise OddError("a box that is cut off")
        return int.from_bytes(self.content[self.at - width : self.at], "big")


def _boxes(content: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, first byte of the content, end) of boxes that lie side by side. Raises OddError."""
    while at + 8 <= end:
        size, name, head = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(content[at + 8 : at + 16], "big"), 16
        size = size or end - at
        if size < head or at + size > end:
            raise OddError("a box that is cut off")
        yield name, at + head, at + size
        at += size
