"""Tables in the tests' output: what came to the entrance and what happened; who attacked, how, and what stopped it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from rich.console import Console
from slices import left_attacks, left_in_words

from wms.tables import Column, make_table

Row = Callable[[str, str, str, str], None]
READ, REFUSED, WORKS = "read right", "refused by name", "works"
"""The usual verdicts; a test that fails shows "FAILED" in their place."""

_KEY: Final = "entrance"
_ATTACK: Final = "attack"
_ATTACK_COLUMNS: Final = (
    Column("attacker"),
    Column("path", wraps=True),
    Column("stopped by", wraps=True),
    Column("in this run"),
)
_COLUMNS: Final = (Column("part"), Column("input", wraps=True), Column("what happens", wraps=True), Column("verdict"))


@pytest.fixture
def entrance(record_property: Callable[[str, object], None]) -> Row:
    """Returns `row(part, input, what_happens, verdict)`: call it after the assertions, with what was observed."""
    return lambda *cells: record_property(_KEY, [str(cell) for cell in cells])


@pytest.hookimpl
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the rows of all tests of this run, also of those in other processes; each once, attacks, what was left."""
    if terminalreporter.config.stash.get(_PRINTED, False):
        return
    terminalreporter.config.stash[_PRINTED] = True
    rows: dict[tuple[str, ...], list[str]] = {}
    attacks: dict[tuple[str, ...], list[bool]] = {}
    for report in (one for outcome in ("passed", "failed") for one in terminalreporter.stats.get(outcome, [])):
        for key, cells in getattr(report, "user_properties", []):
            if key == _KEY:
                part, tried, happens, verdict = cells
                rows[part, tried, report.nodeid] = [part, tried, happens, verdict if report.passed else "FAILED"]
            elif key == _ATTACK:
                attacks.setdefault(tuple(cells), []).append(report.passed)
    held = {tuple(row): [*row, "another commit's"] for row in left_attacks()}
    held |= {row: [*row, "held" if all(passed) else "FAILED"] for row, passed in attacks.items()}
    console = Console(file=terminalreporter._tw._file, width=160)
    for columns, found in ((_COLUMNS, rows), (_ATTACK_COLUMNS, held)):
        if found:
            console.print(make_table(columns, [found[key] for key in sorted(found)]))
    if left := left_in_words():
        console.print(left)


_PRINTED: Final = pytest.StashKey[bool]()
