"""Names a file's kind by its content or its name, and says how a picture that isn't read becomes one that is."""

from __future__ import annotations

from pathlib import PurePath
from typing import Final

SUFFIXES: Final = frozenset(
    {".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)
"""Endings of the names that count as photos or masks, in lower case."""

FORMATS: Final = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "AVIF")
"""Formats that are decoded; a file's content decides, not the name. JPEG includes MPO. The first frame counts."""

HEIC_SUFFIXES: Final = frozenset({".heic", ".heics", ".heif", ".heifs", ".hif"})
"""Endings of the names of HEIC photos, in lower case."""

CONVERT_HEIC: Final = (
    "convert it to JPEG (macOS: `sips -s format jpeg FILE --out FILE.jpg`, elsewhere: `heif-dec FILE FILE.jpg` or "
    "`magick FILE FILE.jpg`), or let the iPhone write JPEG: Settings > Camera > Formats > Most Compatible"
)
"""How a HEIC photo becomes a JPEG."""

LFS_POINTER: Final = b"version https://git-lfs.github.com/spec/"
"""The beginning of the small file that Git LFS puts in a picture's place."""

LFS_ADVICE: Final = (
    "is a Git LFS pointer in place of the picture; take its line out of .gitattributes (`git lfs untrack PATTERN`), "
    "then add and commit the picture again"
)
"""What such a file is, to follow its name, and the way back to the picture."""

HEAD_BYTES: Final = 64
"""The number of a file's first bytes that tell its kind."""

_SAVE: Final = "save it as JPEG or PNG with the program that made it"
_UNREAD: Final = f"a picture of a kind that isn't read; {_SAVE}"
_VIDEO: Final = "a video; take a still picture out of it"
_RAW: Final = f"a camera's raw photo; {_SAVE}, or let the camera write JPEG"
# What other files with pictures are, by the endings of their names.
_OTHERS: Final = {
    **dict.fromkeys((".3gp", ".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"), _VIDEO),
    **dict.fromkeys((".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".raw", ".rw2"), _RAW),
    **dict.fromkeys((".ai", ".eps", ".pdf", ".psd", ".svg", ".xcf"), f"a drawing or document; {_SAVE}"),
    **dict.fromkeys((".dib", ".exr", ".ico", ".j2k", ".jp2", ".jxl", ".pgm", ".pnm", ".ppm", ".tga"), _UNREAD),
    **dict.fromkeys((".7z", ".rar", ".tar", ".tgz", ".zip"), "an archive; unpack it"),
}
_BEGINNINGS: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"8BPS", "PSD"),
)
_HEIC_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_HEIF_BRANDS: Final = frozenset({b"mif1", b"mif2", b"msf1"})  # AVIF bears these, too
_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
_BEGIN_OF_NAME: Final = {"PSD": ".psd", "video": ".mp4"}


def kind_of(content: bytes) -> str | None:
    """The kind of a file by its first HEAD_BYTES: one of FORMATS, "HEIC", "video" or "PSD"; None if unknown."""
    if content[4:8] == b"ftyp":
        size = min(int.from_bytes(content[:4], "big"), HEAD_BYTES)
        brands = {content[8:12], *(content[at : at + 4] for at in range(16, size, 4))}
        if brands & _AVIF_BRANDS:
            return "AVIF"
        return "HEIC" if brands & (_HEIC_BRANDS | _HEIF_BRANDS) else "video"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WEBP"
    return next((kind for begin, kind in _BEGINNINGS if content.startswith(begin)), None)


def advice(name: str, content: bytes = b"") -> str | None:
    """What a file that isn't read by its name holds, and how to bring it; None for a file without a picture.

    `content` is the file's beginning; without that the name alone tells.
    """
    suffix, kind = PurePath(name).suffix.lower(), kind_of(content)
    if kind == "HEIC" or (suffix in HEIC_SUFFIXES and kind is None):
        by_name = "" if content else " by its name"
        return f"HEIC{by_name}; {CONVERT_HEIC}" + (", or name it .jpg if it is a JPEG" if by_name else "")
    if suffix in _OTHERS and kind != "AVIF":
        return _OTHERS[suffix]
    if kind in FORMATS:
        return f"{kind} by its content; give it a name that ends in .{kind.lower()}"
    return _OTHERS[_BEGIN_OF_NAME[kind]] if kind in _BEGIN_OF_NAME else None
