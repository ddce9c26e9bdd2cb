"""Users' text in GitHub's Markdown: no part of the text becomes a cell, a tag, a link or a mention."""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import quote, urlsplit

_MARKUP: Final = "\\`*_[]|~$"
_REPLACED: Final = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    # GitHub looks for mentions and issues in what it has rendered, where an escaped sign is the sign again.
    "@": "@&#8203;",
    "#": "#&#8203;",
    "://": "&#58;//",
    "www.": "www&#46;",
}
_OTHERS: Final = re.compile("|".join(map(re.escape, _REPLACED)))
_STARTS: Final = re.compile(r"^(\d*)([-+=]|(?<=\d)[.)])")
"""The signs that turn a line which begins with them into a list or a heading."""

_UNSEEN: Final = ("Cc", "Cf", "Cs", "Co", "Cn")
"""Unicode's categories of invisible signs, such as those that turn the direction of writing."""


def plain(text: str) -> str:
    """Return the text on one line without invisible signs, for titles, alt texts and callers that escape the text."""
    spaced = " ".join(text.split())
    # Split once more: a removed sign may have stood alone between two spaces.
    return " ".join("".join(sign for sign in spaced if unicodedata.category(sign) not in _UNSEEN).split())


def safe(text: str) -> str:
    """Return the text as literal Markdown on one line, for a paragraph, a list item or a cell, not for a code span.

    >>> print(safe("meter_1 | @anna"))
    meter\\_1 \\| @&#8203;anna
    """
    escaped = "".join(f"\\{sign}" if sign in _MARKUP else sign for sign in plain(text))
    escaped = _STARTS.sub(r"\1\\\2", escaped)
    return _OTHERS.sub(lambda found: _REPLACED[found[0]], escaped)


def decimals(value: float | None, otherwise: str = "") -> str:
    """Return a score with four decimals, `otherwise` for a missing score."""
    return otherwise if value is None else f"{value:.4f}"


def code(text: str) -> str:
    """Return the text as a code span, for ids and commands; signs that could end the span or a cell are replaced."""
    return f"`{plain(text).replace('`', chr(39)).replace('|', '/')}`"


def image(name: str, description: str) -> str:
    """Return the Markdown of a picture beside the text, by its name such as pictures/scores.png."""
    return f"![{safe(description)}]({quote(name)})"


def link(label: str, target: str) -> str:
    """Return a link, or only its label where the target is neither a web page nor a file beside the text."""
    return f"[{safe(label)}]({quote(target, safe=_IN_ADDRESSES)})" if may_link(target) else safe(label)


def may_link(target: str) -> bool:
    """Return whether a page may link to `target`: http, https or a relative path, but no other machine's file."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return False
    if plain(target) != target or not target:
        return False
    if parts.scheme in ("http", "https"):
        return bool(parts.netloc)
    return not parts.scheme and not parts.netloc and not target.startswith(("/", "\\"))


_IN_ADDRESSES: Final = "/:?#&=%@+,;~.-_!$'*"
"""Signs that keep their meaning in an address; parentheses would end Markdown's link."""
