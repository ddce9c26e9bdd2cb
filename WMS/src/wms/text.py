"""Values as text: names inside Markdown, nested settings as dotted names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

# All but letters, digits, harmless marks, and an underscore within a word, which emphasises nothing.
_MARKS: Final = re.compile(r"(?<![^\W_])_|_(?![^\W_])|[^\w ,./-]")


def literal(text: str) -> str:
    """The text with a character reference for each character that Markdown or HTML could interpret."""
    return _MARKS.sub(lambda mark: f"&#{ord(mark[0])};", text)


def flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as pairs of dotted name and value."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
