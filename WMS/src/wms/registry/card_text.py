"""A model card as a document: sections of sentences, lists, tables and figures, as Markdown and as an HTML page.

Each text is a sentence of this code with places for values. Only the values come from users: names of photos, runs and
people. Both forms escape every value, so that no name becomes a link, a tag or a cell.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from wms.pages import render
from wms.pictures import data_uri
from wms.text import literal

_CODE: Final = re.compile(r"`([^`]+)`")
# References to signs that mean nothing where they stand, for readers of the source: ! " % ' ( ) ; ?, of which some mean
# something beside a `[` or `]` only, the colon of a time or before a space, the plus of a time zone.
_HARMLESS: Final = re.compile(r"&#(?:3[3479]|4[01]|59|63);|(?<=\d)&#(?:58|43);(?=\d)|&#58;(?= )")


@dataclass(frozen=True)
class Line:
    """A sentence or a cell: `text` may hold `code` and {places}, whose values are in `values`."""

    text: str
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def markdown(self) -> str:
        """The line as Markdown."""
        values = {name: _HARMLESS.sub(_unescape, literal(value)) for name, value in self.values.items()}
        return self.text.format(**values)

    @property
    def html(self) -> str:
        """The line as HTML, its values escaped."""
        text = _CODE.sub(r"<code>\1</code>", html.escape(self.text))
        return text.format(**{name: html.escape(value) for name, value in self.values.items()})


@dataclass(frozen=True)
class Table:
    """A table: its headings, and rows of cells."""

    head: tuple[str, ...]
    rows: tuple[tuple[Line, ...], ...]


@dataclass(frozen=True)
class Figure:
    """A picture by its file's name, and a line below."""

    name: str
    caption: Line


@dataclass(frozen=True)
class CardSection:
    """A section: a heading, then sentences, tables and figures in their order; `listed` are the points of a list."""

    heading: str
    blocks: tuple[Line | Table | Figure, ...] = ()
    listed: tuple[Line, ...] = ()


@dataclass(frozen=True)
class ModelCard:
    """The card of a model version."""

    title: Line
    sections: tuple[CardSection, ...]


def line(text: str, **values: object) -> Line:
    """Build a line; values lose line breaks and signs that no reader sees.

    >>> line("Run {run}.", run="a|b").markdown
    'Run a&#124;b.'
    """
    return Line(text, {name: _plain(str(value)) for name, value in values.items()})


def given(value: object) -> Line:
    """Build a cell that holds only a value."""
    return line("{value}", value=value)


def to_markdown(card: ModelCard, pictures: Mapping[str, bytes]) -> str:
    """Return the card as Markdown; figures name the files in `pictures`, which lie beside, and no others."""
    parts = [f"# {card.title.markdown}", ""]
    for section in card.sections:
        parts += [f"## {section.heading}", ""]
        for block in section.blocks:
            parts += [*_markdown(block, pictures), ""]
        if section.listed:
            parts += [*(f"- {one.markdown}" for one in section.listed), ""]
    return "\n".join(parts)


def to_html(card: ModelCard, pictures: Mapping[str, bytes]) -> str:
    """Return the card as a page that loads nothing: `pictures`, PNG or JPEG, are in the page."""
    shown = {name: data_uri(content, "png" if name.endswith(".png") else "jpeg") for name, content in pictures.items()}
    return render(Path(__file__).with_name("model_card.html.j2"), {"card": card, "shown": shown})


def _markdown(block: Line | Table | Figure, pictures: Mapping[str, bytes]) -> Iterator[str]:
    match block:
        case Line():
            yield block.markdown
        case Table():
            yield f"| {' | '.join(block.head)} |"
            yield "|---" * len(block.head) + "|"
            yield from (f"| {' | '.join(cell.markdown for cell in row)} |" for row in block.rows)
        case Figure():
            if block.name in pictures:
                yield from (f"![{block.name}]({block.name})", "")
            yield block.caption.markdown


def _unescape(found: re.Match[str]) -> str:
    return html.unescape(found[0])


def _plain(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in " ".join(text.split()))
