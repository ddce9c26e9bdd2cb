"""Tables for people: readable on a narrow terminal, and complete in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.box import HEAVY_HEAD
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from wms.names import harmless

NOT_CUT: Final = 180
"""Width in characters of a table for a file or a log."""

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Column:
    """A heading and its behaviour on a narrow terminal.

    `later` columns move to a second table; `wraps` columns break their lines, also within a long word, and are at
    `least` characters wide.
    """

    heading: str
    later: bool = False
    wraps: bool = False
    least: int | None = None
    justify: JustifyMethod = "left"


def plain_console(**options: Any) -> Console:
    """Return a console that prints text as it is: square brackets are no markup, and :name: is no emoji."""
    return Console(markup=False, emoji=False, highlight=False, **options)


def make_table(columns: Sequence[Column], rows: Rows, *, title: str = "", framed: bool = True) -> Table:
    """Return rows of as many cells as columns as a table, for a console to print; no text is markup."""
    table = Table(
        title=Text(title, "table.title") if title else None, title_justify="left", box=HEAVY_HEAD if framed else None
    )
    for column in columns:
        table.add_column(
            Text(column.heading),
            justify=column.justify,
            no_wrap=not column.wraps,
            overflow="fold" if column.wraps else "ellipsis",
            min_width=column.least,
        )
    for row in rows:
        table.add_row(*(Text(harmless(cell, keep="\t\n")) for cell in row))
    return table


def print_table(columns: Sequence[Column], rows: Rows, *, title: str = "", caption: str = "") -> None:
    """Print rows of as many cells as columns.

    A terminal that is too narrow for all columns gets two tables, both with the first column: `later` ones come last.
    """
    console = plain_console()
    if not console.is_terminal:
        console.width = NOT_CUT
    table = make_table(columns, rows, title=title)
    if console.measure(table, options=console.options.update(width=NOT_CUT)).minimum <= console.width:
        console.print(table)
    else:
        for is_later in (False, True) if any(column.later for column in columns) else (False,):
            chosen = [n for n, column in enumerate(columns) if column.later == is_later or n == 0]
            some = [[row[n] for n in chosen] for row in rows]
            console.print(make_table([columns[n] for n in chosen], some, title="" if is_later else title))
    if caption:
        console.print(caption)
