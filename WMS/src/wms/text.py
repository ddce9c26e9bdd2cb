"""Values as text: names inside Markdown, nested settings as dotted names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from wms.names import harmless

# All but letters, digits, harmless marks, and an underscore within a word, which emphasises nothing.
_MARKS: Final = re.compile(r"(?<![^\W_])_|_(?![^\W_])|[^\w ,./-]")


def literal(text: str) -> str:
    """The text with a character reference for each character that Markdown or HTML could interpret."""
    return _MARKS.sub(lambda mark: f"&#{ord(mark[0])};", harmless(text))


def escaped(text: str) -> str:
    r"""The text with an escape for each character that UTF-8 can't write, as a file's name of other bytes has.

    >>> escaped("run_\udcff")
    'run_\\udcff'
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def counted(count: int, noun: str) -> str:
    """A number of things for a sentence.

    >>> counted(1, "photo"), counted(2, "photo"), counted(0, "entry")
    ('1 photo', '2 photos', '0 entries')
    """
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun.removesuffix('y')}ies" if noun.endswith("y") else f"{count} {noun}s"


def told_apart(named: Iterable[tuple[str, str]]) -> list[str]:
    """A label, which every terminal can show, for each pair of a name and a place.

    The label is the name where all pairs of that name have the same place, and the place elsewhere.

    >>> told_apart([("a", "runs/a"), ("a", "other/a"), ("b", "runs/b")])
    ['runs/a', 'other/a', 'b']
    """
    pairs = [(escaped(name), escaped(place)) for name, place in named]
    places = Counter(name for name, _ in dict.fromkeys(pairs))
    return [name if places[name] == 1 else place for name, place in pairs]


def flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as pairs of dotted name and value."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
