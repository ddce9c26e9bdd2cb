"""PNG: its chunks; those of the pixels and their colours are kept as they are."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

from wms.data.private import tiff
from wms.data.private.pieces import OddError, Stripped, names_place

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_EXIF: Final = b"eXIf"
_TOLD: Final = frozenset({_EXIF, b"tEXt", b"zTXt", b"iTXt"})
_KEPT: Final = frozenset(
    {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"bKGD", b"hIST"}
    | {b"pHYs", b"sPLT", b"cICP", b"mDCV", b"cLLI", b"tIME", b"acTL", b"fcTL", b"fdAT"}
)


def strip(content: bytes, turn: int) -> Stripped:
    """Strip a PNG file: texts, unknown chunks, and all behind the last chunk leave. Raises OddError."""
    kept, blocks, place = [SIGNATURE], list[bytes](), False
    exif_at: int | None = None
    for name, piece in _chunks(content):
        body = piece[8:-4]
        if name in _KEPT:
            kept.append(piece)
        elif name == _EXIF:
            exif_at = len(kept) if exif_at is None else exif_at
            blocks.append(body)
        else:
            place |= names_place(_text(name, body))
    block, found = tiff.exif(blocks[0] if len(blocks) == 1 else b"", turn) if blocks or turn != 1 else (b"", False)
    if block:
        kept.insert(2 if exif_at is None else exif_at, chunk(_EXIF, block))
    return Stripped(b"".join(kept), place or found)


def chunk(name: bytes, body: bytes) -> bytes:
    """Return a chunk with its length and its check sum."""
    return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield each chunk's name and all of its bytes, up to the end of the picture. Raises OddError."""
    at = len(SIGNATURE)
    if content[at + 4 : at + 8] != b"IHDR":
        raise OddError("no header")
    while at + 12 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        name = content[at + 4 : at + 8]
        yield name, content[at:end]
        if name == b"IEND":
            return
        at = end


def _text(name: bytes, body: bytes) -> bytes:
    """Return a chunk's text, unpacked up to a limit."""
    packed = body.partition(b"\0")[2][1:] if name == b"zTXt" else b""
    if name == b"iTXt" and body.partition(b"\0")[2][:1] == b"\1":
        packed = body.partition(b"\0")[2][2:].partition(b"\0")[2].partition(b"\0")[2]
    try:
        return zlib.decompressobj().decompress(packed, 1 << 20) if packed else body
    except zlib.error:
        return body
