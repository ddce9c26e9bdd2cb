"""A body's links to attachments, from names to addresses; and the cut of a body that is too long for GitHub."""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import quote, unquote

BODY_LIMIT = 65_536
"""Characters that GitHub takes for a pull request's body."""

_CUT = "\n\nThe text is longer than GitHub takes; it was cut here.\n"
# [text](<name with spaces>), ![text](name "title"), src="name", href='name'
_LINK = re.compile(
    r"""\]\(\s*<(?P<angled>[^<>\n]+)(?=>) | \]\(\s*(?P<plain>[^<>()"'\s]+)(?=[\s)])
    | \b(?:src|href)\s*=\s*(?P<quote>["'])(?P<html>[^"'\n]+)(?=(?P=quote))""",
    re.IGNORECASE | re.VERBOSE,
)


def linked(body: str, names: Collection[str], folder: str) -> str:
    """Return Markdown (or its HTML) whose links to one of `names` lead to that name below the address `folder`.

    >>> linked("![a](a.png) ![b](b.png)", ["a.png"], "https://example.org/1")
    '![a](https://example.org/1/a.png) ![b](b.png)'
    """

    def full(found: re.Match[str]) -> str:
        given = found["angled"] or found["plain"] or found["html"]
        known = [name for name in (given.removeprefix("./"), unquote(given).removeprefix("./")) if name in names]
        return f"{found[0].removesuffix(given)}{folder}/{quote(known[0])}" if known else found[0]

    return _LINK.sub(full, body)


def fitting(body: str) -> str:
    """Return the body, cut after a line if too long."""
    if len(body) <= BODY_LIMIT:
        return body
    kept = body[: BODY_LIMIT - len(_CUT)]
    return kept[: kept.rfind("\n") + 1].rstrip() + _CUT
