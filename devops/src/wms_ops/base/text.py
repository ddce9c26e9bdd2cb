"""Text of users in Markdown that GitHub renders: nothing in it becomes a cell, a tag, a link or a mention."""

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
"""What makes a list or a heading of a line that begins with it."""

_UNSEEN: Final = ("Cc", "Cf", "Cs", "Co", "Cn")
"""Unicode's categories of signs that aren't seen, such as those that turn the direction of writing."""


def plain(text: str) -> str:
    """Text on one line without signs that aren't seen, for titles, alt texts and everything that escapes by itself."""
    spaced = " ".join(text.split())
    # Once more: what is taken out may have stood alone between two spaces.
    return " ".join("".join(sign for sign in spaced if unicodedata.category(sign) not in _UNSEEN).split())


def safe(text: str) -> str:
    """Text as literal Markdown, on one line: for a paragraph, a list item or a table's cell, not for a code span."""
    escaped = "".join(f"\\{sign}" if sign in _MARKUP else sign for sign in plain(text))
    escaped = _STARTS.sub(r"\1\\\2", escaped)
    return _OTHERS.sub(lambda found: _REPLACED[found[0]], escaped)


def code(text: str) -> str:
    """Text as a code span, for ids and commands of ours; signs that could end it, or a table's cell, are replaced."""
    return f"`{plain(text).replace('`', chr(39)).replace('|', '/')}`"


def image(name: str, description: str) -> str:
    """A picture beside the text, by its name such as pictures/scores.png."""
    return f"![{safe(description)}]({quote(name)})"


def link(label: str, target: str) -> str:
    """A link, or only its label where the target is neither a web page nor a file beside the text."""
    return f"[{safe(label)}]({quote(target, safe=_IN_ADDRESSES)})" if may_link(target) else safe(label)


def may_link(target: str) -> bool:
    """Whether a page may link there: http, https, or a relative path; never a script, never another machine's file."""
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
