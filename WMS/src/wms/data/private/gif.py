"""GIF: its blocks; comments and the extensions of applications leave, but for the one that repeats an animation."""

from __future__ import annotations

from typing import Final

from wms.data.private.pieces import OddError, Stripped, names_place

_EXTENSION, _PICTURE, _END = 0x21, 0x2C, 0x3B
_CONTROL: Final = 0xF9
_REPEATS: Final = b"\x0bNETSCAPE2.0"


def strip(content: bytes, _turn: int) -> Stripped:
    """Strip a GIF file: comments, XMP, plain texts, and all behind the last block leave. Raises OddError."""
    at = 13 + _table(content, 10)
    kept, place = [content[:at]], False
    while at < len(content):
        kind = content[at]
        if kind == _END:
            return Stripped(b"".join([*kept, content[at : at + 1]]), place)
        if kind == _PICTURE:
            end = _blocks(content, at + 11 + _table(content, at + 9))
        elif kind == _EXTENSION:
            end = _blocks(content, at + 2)
        else:
            raise OddError("an unknown block")
        piece = content[at:end]
        if kind == _PICTURE or piece[1] == _CONTROL or piece[2:].startswith(_REPEATS):
            kept.append(piece)
        else:
            place |= names_place(piece)
        at = end
    return Stripped(b"".join(kept), place)  # cut off


def _table(content: bytes, flags_at: int) -> int:
    """Return the size in bytes of the colour table that flags announce."""
    if flags_at >= len(content):
        raise OddError("cut off")
    flags = content[flags_at]
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _blocks(content: bytes, at: int) -> int:
    """Return the offset behind a row of blocks."""
    while at < len(content):
        size = content[at]
        at += 1 + size
        if not size:
            return at
    raise OddError("cut off")
