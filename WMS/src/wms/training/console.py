"""Shows the progress of a training: a bar with an estimate on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from wms.tables import plain_console
from wms.training.position import Progress as Step


class Observer(Protocol):
    """Receives the loop's progress."""

    def __call__(self, step: Step, /) -> None: ...


@contextmanager
def training_progress(title: str, *, quiet: bool = False) -> Iterator[Observer]:
    """Show a training run. Yields the observer to hand to the loop; `quiet` shows nothing."""
    console = plain_console(quiet=quiet, soft_wrap=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("remaining"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=1.0)

        def observe(step: Step) -> None:
            bar.update(task, completed=step.share)
            if step.message:
                console.print(f"{step.share:4.0%}  {step.message}")

        yield observe
