"""A table that stays readable on a narrow terminal, and complete in a file."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console, JustifyMethod
from rich.table import Table

NOT_CUT: Final = 180
"""Width in characters of a table for a file or a log."""

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Column:
    """A heading and its behaviour on a narrow terminal.

    `later` columns move to a second table; `wraps` columns break their lines, at `least` characters wide.
    """

    heading: str
    later: bool = False
    wraps: bool = False
    least: int | None = None
    justify: JustifyMethod = "left"


def print_table(columns: Sequence[Column], rows: Rows, *, title: str = "", caption: str = "") -> None:
    """Print rows of as many cells as columns.

    A terminal that is too narrow for all columns gets two tables, both with the first column: `later` ones come last.
    """
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = NOT_CUT
    everything = range(len(columns))
    table = _table(columns, rows, everything, title)
    if console.measure(table, options=console.options.update(width=NOT_CUT)).minimum <= console.width:
        console.print(table)
    else:
        console.print(_table(columns, rows, [n for n in everything if not columns[n].later], title))
        if any(column.later for column in columns):
            console.print(_table(columns, rows, [n for n in everything if n == 0 or columns[n].later], ""))
    if caption:
        console.print(caption)


def _table(columns: Sequence[Column], rows: Rows, chosen: Collection[int], title: str) -> Table:
    table = Table(title=title or None, title_justify="left")
    for index in chosen:
        column = columns[index]
        table.add_column(column.heading, justify=column.justify, no_wrap=not column.wraps, min_width=column.least)
    for row in rows:
        table.add_row(*(row[index] for index in chosen))
    return table
