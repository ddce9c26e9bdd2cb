"""Checks file names that come from others: in an archive, a manifest, a release or a commit.

A plain name on this machine may point elsewhere on another, so names that Windows or macOS read differently are refused
everywhere. Git's own folder is recognised as git does with core.protectNTFS and core.protectHFS.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

_MOST_BYTES: Final = 1024
_MOST_PART_BYTES: Final = 255
_DEEPEST: Final = 32  # folders; a run's files lie four deep, and each level costs memory when names are compared
# A backslash parts folders on Windows, and a colon names a drive or a file's second stream there.
_PARTING: Final = ("\\", ":")
# Control and format characters, lone surrogates, line ends: they disguise a name, and macOS ignores some.
_HIDING: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Letters and marks that show nothing, which Unicode counts as printable: fillers, a blank of Braille, selectors.
_UNSEEN: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_SHORT_GIT: Final = re.compile(r"git~\d+")
_DEVICE: Final = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com\d|lpt\d)(\..*)?")


def reason_against(name: str) -> str | None:
    """Why `name` can't name a file below a folder, as the end of a sentence; None for a valid name.

    A valid name is a relative path with slashes whose parts mean the same on every system and aren't Git's folder.

    >>> reason_against("images/a.jpg") is None
    True
    """
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "isn't a relative path that stays in its folder"
    if any(sign in name for sign in _PARTING) or any(unicodedata.category(sign) in _HIDING for sign in name):
        return "holds a backslash, a colon or a character that can't be seen"
    if any(is_git(part) for part in parts):
        return "lies in Git's own folder"
    if any(part.endswith((".", " ")) or _DEVICE.fullmatch(part.lower()) for part in parts):
        return "is another file's or a device's name on Windows"
    sizes = [len(part.encode()) for part in parts]
    if max(sizes) > _MOST_PART_BYTES or sum(sizes) > _MOST_BYTES or len(parts) > _DEEPEST:
        return f"is longer than {_MOST_BYTES} bytes, a part of it than {_MOST_PART_BYTES}, or too deep"
    return None


def harmless(text: str, keep: str = "\t") -> str:
    """Text from others, made safe for a terminal or a page: signs in `keep` stay, other hidden ones become visible."""
    text = _UNSEEN.sub("\ufffd", text)
    if text.isprintable():  # a page holds pictures as text of megabytes
        return text
    return "".join(sign if sign in keep or unicodedata.category(sign) not in _HIDING else "\ufffd" for sign in text)


def tell(line: str) -> None:
    """Print a line that holds text from records: a name or a reason there adds no line and no terminal's command."""
    print(harmless(line))


def is_git(part: str) -> bool:
    """Whether a part of a path is `.git`, or a name that Windows or macOS equate to `.git`, as `.GIT.` and `git~1`."""
    if part.isascii() and part[:4].lower() not in (".git", "git~"):
        return False  # a manifest may hold 100,000 names
    seen = "".join(sign for sign in part if unicodedata.category(sign) != "Cf")
    folded = re.split(r"[\\:]", unicodedata.normalize("NFC", seen).casefold())[0].rstrip(". ")
    return folded == ".git" or _SHORT_GIT.fullmatch(folded) is not None


def first_collision(names: Iterable[str]) -> tuple[str, str] | None:
    """Two names that can't both exist: they differ only in case, or one is a file and the other lies below it.

    Returns the later and the earlier name; None if all names can coexist.
    """
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for name in names:
        # macOS and Windows ignore case, and macOS stores letters with accents in two ways.
        key = unicodedata.normalize("NFC", name).casefold()
        parts = key.split("/")
        above = ["/".join(parts[:count]) for count in range(1, len(parts))]
        other = files.get(key) or folders.get(key) or next((files[one] for one in above if one in files), None)
        if other is not None:
            return name, other
        files[key] = name
        folders |= {one: name for one in above if one not in folders}
    return None
