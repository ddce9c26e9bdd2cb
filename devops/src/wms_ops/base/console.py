"""What a person at a terminal sees: a bar for work that is counted, and sentences that outlive the terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar while the block runs; it yields what takes (done, total)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def patient(show: Callable[[str], None]) -> Callable[[str], None]:
    """The same, whatever becomes of who listens: a terminal that is closed must not keep a teardown from going on."""

    def say(text: str) -> None:
        with contextlib.suppress(OSError):
            show(text)

    return say
