"""WebP: the chunks of its RIFF container; those of the pixels and their colours are kept as they are."""

from __future__ import annotations

from typing import Final

from wms.data.private import tiff
from wms.data.private.pieces import OddError, Stripped, names_place

_KEPT: Final = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"})
_HEADER: Final = b"VP8X"
_HAS_EXIF, _HAS_XMP = 0x08, 0x04
_PREFIX: Final = b"Exif\0\0"


def strip(content: bytes, turn: int) -> Stripped:
    """Strip a WebP file: XMP, unknown chunks, and all behind the container's end leave. Raises OddError."""
    kept, blocks, place = list[bytes](), list[bytes](), False
    at, end = 12, min(len(content), 8 + int.from_bytes(content[4:8], "little"))
    while at + 8 <= end:
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        name, body = content[at : at + 4], content[at + 8 : at + 8 + size]
        if at + 8 + size > len(content):
            raise OddError("a chunk that is cut off")
        if name == b"EXIF":
            blocks.append(body)
        elif name in _KEPT:
            kept.append(content[at : at + 8 + size + size % 2])
        else:
            place |= names_place(body)
        at += 8 + size + size % 2
    block, found = _exif(blocks, turn)
    kept = [_flagged(piece, exif=bool(block)) if piece.startswith(_HEADER) else piece for piece in kept]
    if block:
        kept.append(b"EXIF" + len(block).to_bytes(4, "little") + block + b"\0" * (len(block) % 2))
    rest = b"WEBP" + b"".join(kept)
    return Stripped(b"RIFF" + len(rest).to_bytes(4, "little") + rest, place or found)


def _exif(blocks: list[bytes], turn: int) -> tuple[bytes, bool]:
    if not blocks:
        return (tiff.minimal(turn) if turn != 1 else b""), False
    prefix = _PREFIX if blocks[0].startswith(_PREFIX) else b""
    block, place = tiff.exif(blocks[0].removeprefix(prefix) if len(blocks) == 1 else b"", turn)
    return (prefix + block if block else b""), place


def _flagged(piece: bytes, *, exif: bool) -> bytes:
    """Return the header chunk with flags that say which metadata the file holds now."""
    flags = piece[8] & ~(_HAS_EXIF | _HAS_XMP) | (_HAS_EXIF if exif else 0)
    return piece[:8] + bytes([flags]) + piece[9:]
