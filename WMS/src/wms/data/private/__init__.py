"""Takes places, serial numbers and names out of photos; the compressed pixels and the orientation stay, byte for byte.

Each container (JPEG, PNG, WebP, TIFF, GIF, AVIF) is rewritten piece by piece, without decoding: only known harmless
pieces stay, so that a maker's own new kind of metadata goes, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from wms.data.images import orientation_in
from wms.data.private import avif, gif, jpeg, png, tiff, webp
from wms.data.private.pieces import OddError, Stripped
from wms.errors import WmsError

_Strip = Callable[[bytes, int], Stripped]
_KINDS: Final[tuple[tuple[Callable[[bytes], bool], _Strip], ...]] = (
    (lambda head: head.startswith(b"\xff\xd8"), jpeg.strip),
    (lambda head: head.startswith(png.SIGNATURE), png.strip),
    (lambda head: head.startswith(b"RIFF") and head[8:12] == b"WEBP", webp.strip),
    (lambda head: head[:4] in tiff.SIGNATURES, tiff.strip),
    (lambda head: head.startswith((b"GIF87a", b"GIF89a")), gif.strip),
    (lambda head: head[4:8] == b"ftyp", avif.strip),
)


def without_private(content: bytes) -> bytes:
    """Return a photo's file without GPS positions, serial numbers, names, comments, thumbnails and second pictures.

    Camera, time, exposure, colour profile and orientation stay; so do all bytes of a file that holds nothing private,
    and of a file that can't be opened as a picture (the data check refuses such files). A second run over the result
    changes nothing. Never raises for any content.
    """
    return stripped(content).content


def stripped(content: bytes) -> Stripped:
    """As `without_private`, and whether the file named a place."""
    strip = next((one for fits, one in _KINDS if fits(content[:16])), None)
    turn = _turn(content) if strip else None
    if strip is None or turn is None:
        return Stripped(content, place=False)
    try:
        return strip(content, turn)
    except (OddError, IndexError, OverflowError):  # numbers that lead nowhere
        return Stripped(content, place=False)


def _turn(content: bytes) -> int | None:
    """Return the orientation, 1..8, that readers find without decoding the pixels; None for a file they don't open."""
    try:
        return orientation_in(content)
    except WmsError:
        return None
