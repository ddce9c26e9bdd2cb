"""A table in the tests' output: an input at the entrance, the observed result, and the verdict on the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from rich.console import Console

from wms.tables import Column, make_table

Row = Callable[[str, str, str, str], None]
READ, REFUSED, WORKS = "read right", "refused by name", "works"
"""The usual verdicts; a test that fails shows "FAILED" in their place."""

_KEY: Final = "entrance"
_COLUMNS: Final = (Column("part"), Column("input", wraps=True), Column("what happens", wraps=True), Column("verdict"))


@pytest.fixture
def entrance(record_property: Callable[[str, object], None]) -> Row:
    """Returns `row(part, input, what_happens, verdict)`: call it after the assertions, with what was observed."""
    return lambda *cells: record_property(_KEY, [str(cell) for cell in cells])


@pytest.hookimpl
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the rows of all tests of this run, also of those in other processes; each row once."""
    rows = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            for key, cells in getattr(report, "user_properties", []):
                if key == _KEY:
                    part, tried, happens, verdict = cells
                    rows[part, tried, report.nodeid] = (part, tried, happens, verdict if report.passed else "FAILED")
    if rows and not terminalreporter.config.stash.get(_PRINTED, False):
        terminalreporter.config.stash[_PRINTED] = True
        console = Console(file=terminalreporter._tw._file, width=160)
        console.print(make_table(_COLUMNS, [rows[key] for key in sorted(rows)]))


_PRINTED: Final = pytest.StashKey[bool]()
