"""TIFF's directories: those of a TIFF file, and those of the EXIF block that other formats carry.

Directories are rewritten in place, so that no offset changes; the bytes of what leaves become zeros.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from wms.data.bare import orientation_in_block
from wms.data.private.pieces import OddError, Stripped, names_place

SIGNATURES: Final = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")

ORIENTATION: Final = 0x0112
_SUB_FILES, _XMP, _EXIF, _GPS, _INTEROP = 0x014A, 0x02BC, 0x8769, 0x8825, 0xA005
_GEO: Final = frozenset({0x830E, 0x8482, 0x85D8, 0x87AF, 0x87B0, 0x87B1})
_DATA: Final = {0x0111: 0x0117, 0x0144: 0x0145, 0x0201: 0x0202}
"""Tags whose values are offsets of pixels -> the tags of their lengths: strips, tiles, an old JPEG stream."""

_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_UNSIGNED: Final = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}

# What stays, by directory: camera, time, exposure and colours. All other tags leave: places, serial numbers, names,
# free texts, a maker's own notes.
_CAMERA: Final = frozenset(
    {0x0100, 0x0101, 0x0102, 0x0103, 0x0106, 0x010F, 0x0110, ORIENTATION, 0x0115, 0x011A, 0x011B, 0x011C, 0x0128}
    | {0x012D, 0x0131, 0x0132, 0x013E, 0x013F, 0x0211, 0x0212, 0x0213, 0x0214, _EXIF}
)
_SHOT: Final = frozenset(
    {0x829A, 0x829D, 0x8822, 0x8827, *range(0x8830, 0x8836), 0x9000, 0x9003, 0x9004, 0x9010, 0x9011, 0x9012}
    | {0x9101, 0x9102, *range(0x9201, 0x920B), 0x9214, 0x9290, 0x9291, 0x9292, *range(0xA000, 0xA004), _INTEROP}
    | {0xA20E, 0xA20F, 0xA210, 0xA214, 0xA215, 0xA217, 0xA300, 0xA301, *range(0xA401, 0xA409), 0xA40A, 0xA40C}
    | {0xA432, 0xA433, 0xA434, 0xA460, 0xA461, 0xA500}
)
_PICTURE: Final = _CAMERA | frozenset(
    {0x00FE, 0x00FF, *range(0x0107, 0x010D), *_DATA, *_DATA.values(), 0x0116, 0x0118, 0x0119, 0x011E, 0x011F}
    | {*range(0x0120, 0x0126), 0x0129, 0x013D, *range(0x0140, 0x0150), 0x0150, *range(0x0152, 0x0156)}
    | {0x0156, 0x0157, 0x015B, 0x0200, 0x0203, *range(0x0205, 0x020A), 0x828D, 0x828E, 0x8773, 0xC5F2}
)
_BELOW: Final = {_EXIF: _SHOT, _INTEROP: frozenset({1, 2}), _SUB_FILES: _PICTURE}
_NOTHING: Final = frozenset[int]()

_MINIMAL: Final = struct.Struct(">2sHIHHHIHHI")


def minimal(turn: int) -> bytes:
    """Return an EXIF block that holds an orientation only."""
    return _MINIMAL.pack(b"MM", 42, 8, 1, ORIENTATION, 3, 1, turn, 0, 0)


def exif(block: bytes, turn: int) -> tuple[bytes, bool]:
    """Return a cleaned EXIF block of the orientation `turn`, empty where nothing is worth keeping; and whether it named
    a place.

    A block that can't be parsed gives way to a block with the orientation only.
    """
    editor = _Editor(block)
    try:
        if block[:4] not in SIGNATURES[:2]:
            raise OddError("no header")
        new = editor.exif(turn)
        # Readers must find the same orientation, and a second run must find nothing left to do.
        if orientation_in_block(new) != turn or _Editor(new).exif(turn) != new:
            raise OddError("values that lie across each other")
        return new, editor.place
    except OddError:
        place = editor.place or b"\x88\x25\x00\x04" in block or b"\x25\x88\x04\x00" in block
        return (minimal(turn) if turn != 1 else b""), place


def strip(content: bytes, turn: int) -> Stripped:
    """Strip a TIFF file. Raises OddError."""
    editor = _Editor(content, pages=True)
    new = editor.picture(turn)
    if new != content and _Editor(new, pages=True).picture(turn) != new:
        raise OddError("values that lie across each other")
    return Stripped(new, editor.place)


@dataclass(frozen=True, slots=True)
class _Entry:
    tag: int
    kind: int
    count: int
    raw: bytes
    """The entry's bytes."""


@dataclass
class _Editor:
    """The directories of `content` as they will be; `kept` and `gone` are ranges of bytes outside of directories."""

    content: bytes
    kept: list[tuple[int, int]] = field(default_factory=list)
    gone: list[tuple[int, int]] = field(default_factory=list)
    directories: dict[int, bytes] = field(default_factory=dict)
    pages: bool = False
    """Whether the directories are those of a TIFF file, which hold the pictures themselves."""

    changed: bool = False
    place: bool = False

    def __post_init__(self) -> None:
        self.order = "<" if self.content[:2] == b"II" else ">"
        self.big = 43 in self.content[2:4]
        self.word, self.counts = ("Q", "Q") if self.big else ("I", "H")

    def first(self) -> int:
        """Return the offset of the first directory."""
        (offset,) = self._unpack(self.word, 8 if self.big else 4)
        return int(offset)

    def walk(self, offset: int, allowed: frozenset[int], *, turn: int | None = None, chain: bool = False) -> None:
        """Plan a directory and those below; `turn` is the orientation that it must tell; `chain`: pages follow."""
        while offset:
            entries, following, size = self._read(offset)
            stay = [entry for entry in entries if self._plan(entry, kept=entry.tag in allowed)]
            self._plan_data({entry.tag: entry for entry in entries}, kept=bool(allowed))
            if turn is not None:
                stay = self._turned(stay, turn, len(entries))
            after = following if chain else 0
            new = self._pack(stay, after, size)
            if not allowed:
                self.gone.append((offset, offset + size))
            self.directories[offset] = new if allowed else bytes(size)
            self.changed |= new != self.content[offset : offset + size]
            if following and not chain:  # a thumbnail
                self.walk(following, _NOTHING, chain=True)
            offset, turn = after, None

    def exif(self, turn: int) -> bytes:
        """Return an EXIF block; whatever no kept entry refers to is zeros, and the end of them is cut off."""
        self.walk(self.first(), _CAMERA, turn=turn, chain=False)
        ranges = sorted([*self.kept, *self._alive(), (0, 8)])
        if any(one[1] > other[0] for one, other in itertools.pairwise(ranges)):
            raise OddError("overlapping values")
        new = self._written(bytearray(len(self.content)), [*self.kept, (0, 8)])
        return self.content if new == self.content else new[: ranges[-1][1]]

    def picture(self, turn: int) -> bytes:
        """Return a TIFF file; only what removed entries alone referred to has become zeros."""
        self.walk(self.first(), _PICTURE, turn=turn, chain=True)
        if not self.changed:
            return self.content
        new = bytearray(self.content)
        for start, end in self.gone:
            new[start:end] = bytes(min(end, len(new)) - start)
        return self._written(new, self.kept)

    def _written(self, new: bytearray, kept: Sequence[tuple[int, int]]) -> bytes:
        for start, end in kept:
            new[start:end] = self.content[start:end]
        for offset, directory in self.directories.items():
            new[offset : offset + len(directory)] = directory
        return bytes(new)

    def _alive(self) -> Iterator[tuple[int, int]]:
        return ((start, start + len(new)) for start, new in self.directories.items() if any(new))

    def _read(self, offset: int) -> tuple[list[_Entry], int, int]:
        if offset in self.directories or len(self.directories) > 64:
            raise OddError("a loop of directories")
        self.directories[offset] = b""  # begun
        start = struct.calcsize(self.order + self.counts)
        step = 20 if self.big else 12
        (count,) = self._unpack(self.counts, offset)
        if count > 4096:
            raise OddError("a directory of too many entries")
        entries = []
        for at in range(offset + start, offset + start + count * step, step):
            tag, kind, number = self._unpack(f"HH{self.word}", at)
            entries.append(_Entry(tag, kind, number, self.content[at : at + step]))
        end = offset + start + count * step
        (following,) = self._unpack(self.word, end)
        return entries, following, end + struct.calcsize(self.order + self.word) - offset

    def _pack(self, entries: Sequence[_Entry], following: int, size: int) -> bytes:
        new = struct.pack(self.order + self.counts, len(entries)) + b"".join(entry.raw for entry in entries)
        return (new + struct.pack(self.order + self.word, following)).ljust(size, b"\0")

    def _plan(self, entry: _Entry, *, kept: bool) -> bool:
        """Plan what an entry refers to; return whether the entry stays."""
        if not kept:
            self.place |= entry.tag in _GEO or entry.tag == _GPS
        if entry.kind not in _SIZES:
            if kept:
                raise OddError("an entry of an unknown type")
            return False
        start, end = self._range(entry)
        if start != end:  # else the value is in the entry itself
            if kept and end > len(self.content):
                raise OddError("a value outside of the file")
            if start < len(self.content):
                (self.kept if kept else self.gone).append((start, min(end, len(self.content))))
            if entry.tag == _XMP and names_place(self.content[start:end]):
                self.place = True
        if entry.tag not in _BELOW and (kept or entry.tag != _GPS):
            return kept
        try:
            for below in self._values(entry):
                self.walk(below, _BELOW[entry.tag] if kept else _NOTHING)
        except OddError:
            if kept and not self.pages:
                raise
            return False  # a picture can be shown without
        return kept

    def _plan_data(self, entries: dict[int, _Entry], *, kept: bool) -> None:
        for offsets, lengths in _DATA.items():
            if offsets in entries and lengths in entries:
                pairs = zip(self._values(entries[offsets]), self._values(entries[lengths]), strict=False)
                found = ((start, min(start + length, len(self.content))) for start, length in pairs)
                (self.kept if kept else self.gone).extend(one for one in found if one[0] < one[1])

    def _range(self, entry: _Entry) -> tuple[int, int]:
        size, inline = _SIZES[entry.kind] * entry.count, 8 if self.big else 4
        if size <= inline:
            return 0, 0
        (start,) = struct.unpack(self.order + self.word, entry.raw[-inline:])
        return start, start + size

    def _values(self, entry: _Entry) -> tuple[int, ...]:
        if entry.kind not in _UNSIGNED:
            raise OddError("an offset that is no whole number")
        start, end = self._range(entry)
        raw = entry.raw[-(8 if self.big else 4) :] if start == end else self.content[start:end]
        try:
            return struct.unpack_from(f"{self.order}{entry.count}{_UNSIGNED[entry.kind]}", raw)
        except struct.error as error:
            raise OddError("values outside of the file") from error

    def _turned(self, entries: list[_Entry], turn: int, room: int) -> list[_Entry]:
        told = [entry for entry in entries if entry.tag == ORIENTATION]
        word = struct.pack(self.order + "H", turn).ljust(8 if self.big else 4, b"\0")
        raw = struct.pack(f"{self.order}HH{self.word}", ORIENTATION, 3, 1) + word
        right = [entry.raw[:-2] for entry in told] == [raw[:-2]] if not self.big else [e.raw for e in told] == [raw]
        if right or (turn == 1 and not told):
            return entries
        others = [entry for entry in entries if entry.tag != ORIENTATION]
        if len(others) == room:
            raise OddError("no room for an orientation")
        return sorted([*others, _Entry(ORIENTATION, 3, 1, raw)], key=lambda entry: entry.tag)

    def _unpack(self, form: str, at: int) -> tuple[int, ...]:
        try:
            return struct.unpack_from(self.order + form, self.content, at)
        except struct.error as error:
            raise OddError("a directory outside of the file") from error
