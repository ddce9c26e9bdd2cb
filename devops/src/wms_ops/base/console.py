"""Output for a terminal: a progress bar, and messages that survive the terminal's end."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar while the block runs; the block gets a function that takes (done, total)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def patient(show: Callable[[str], None]) -> Callable[[str], None]:
    """Return `show` without its OSErrors: a closed terminal must not stop a teardown."""

    def say(text: str) -> None:
        with contextlib.suppress(OSError):
            show(text)

    return say
