"""File names that work everywhere: on Windows, macOS and Linux, in a shell, in Git and in an S3 key."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_RESERVED: Final = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\..*)?")
_FORBIDDEN: Final = '<>:"|?*\\/'
_LONGEST: Final = 150  # of Windows' 260; the rest is for the folders above, in the clone and in DVC's cache
_JOINERS: Final = "\u200c\u200d"  # parts of ordinary words and emoji


def unsafe(name: str) -> str | None:
    """Why a file's name causes trouble on some system, as the end of "its name ..."; None for a safe name.

    Spaces inside and ordinary Unicode are safe.
    """
    reasons = (
        (is_undecodable(name), "isn't valid UTF-8"),
        (any(map(_is_control, name)), "holds a newline or another invisible control character"),
        (any(char in _FORBIDDEN for char in name), f"holds one of {' '.join(_FORBIDDEN)}, which Windows refuses"),
        (_RESERVED.fullmatch(name) is not None, "is reserved on Windows"),
        (name.startswith("-"), "begins with a dash, which commands take for an option"),
        (name.startswith("."), "begins with a dot, which hides it"),
        (name.endswith((" ", ".")), "ends in a space or a dot, which Windows drops"),
        (len(name) > _LONGEST, f"has over {_LONGEST} characters, and Windows' paths end at 260"),
        (not unicodedata.is_normalized("NFC", name), "isn't in Unicode's composed form (NFC)"),
    )
    return next((reason for holds, reason in reasons if holds), None)


def shown(name: str) -> str:
    """A name for printing on a line: invisible characters become escapes."""
    return "".join(char if char == " " or char.isprintable() else _escape(char) for char in name)


def folded(name: str) -> str:
    """The same text for names that a file system without case or Unicode normal forms can't tell apart."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _is_control(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp") and char not in _JOINERS


def is_undecodable(name: str) -> bool:
    """Whether the name holds bytes that aren't UTF-8, which Python represents by lone surrogates."""
    return any("\ud800" <= char <= "\udfff" for char in name)


def _escape(char: str) -> str:
    if "\udc80" <= char <= "\udcff":
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")
