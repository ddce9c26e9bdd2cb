"""Shows a run of the loop on a terminal: a line for each step, and the step's output meanwhile."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table

from wms.names import harmless
from wms.tables import Column, make_table, plain_console
from wms_ops.base.outputs import on_actions
from wms_ops.cost.estimate import BUSY, ON_THE_CLOCK, cost_of, cost_of_run
from wms_ops.runs.record import STEPS, RunOutcome, RunRecord, StepState

_WORDS = {
    StepState.DONE: "done",
    StepState.FAILED: "failed",
    StepState.SKIPPED: "skipped",
    StepState.RUNNING: "stopped",
    StepState.WAITING: "not reached",
}


_COLUMNS = (
    *(Column("step"), Column(""), Column("seconds", justify="right")),
    Column("USD in the cloud", justify="right"),
)


class ConsoleTeller:
    """Prints a run's progress: on a terminal the newest line of the running step, overwritten; elsewhere all lines."""

    def __init__(self, console: Console | None = None) -> None:
        # A log isn't a terminal, even where a runner gives its steps one.
        self.console = console or plain_console(soft_wrap=True, force_terminal=False if on_actions() else None)
        self._status: Status | None = None
        self._name = ""

    def begins(self, name: str, number: int) -> None:
        """A step is about to begin."""
        self._name = f"{number:2}/{len(STEPS)} {name}"
        if self.console.is_terminal:
            self._status = self.console.status(self._name)
            self._status.start()
        else:
            self.console.print(f"{self._name} ...")

    def line(self, text: str) -> None:
        """A line of the running step's output."""
        if self._status is not None and not text.startswith(("warning", "error")):
            width = max(20, self.console.width - len(self._name) - 6)
            self._status.update(f"{self._name}  [dim]{escape(harmless(text.strip()[:width]))}[/dim]")
        else:
            self.console.print(f"      {_on_one_line(text)}")

    def over(self, record: RunRecord, name: str) -> None:
        """A step is over, with any result."""
        if self._status is not None:
            self._status.stop()
            self._status = None
        step = record.step(name)
        word = "" if step.state is StepState.DONE else f"{_WORDS[step.state]}: "
        self.console.print(f"{self._name:22}{step.seconds:7.1f} s  {word}{_on_one_line(step.text)}")


def _on_one_line(text: str) -> str:
    """The text with a blank for each line end: the reasons of a refusal stand on lines of their own."""
    first, *others = text.split("\n")
    return harmless(" ".join([first, *map(str.strip, others)]))


def summary(record: RunRecord) -> Table:
    """A table of the steps with their times and their cost in the cloud."""
    rows = []
    for step in record.steps:
        busy = step.seconds if step.name in BUSY else 0.0
        cost = cost_of(step.seconds, minimum_s=0, busy_seconds=busy).total
        price = f"{cost:.4f}" if step.name in ON_THE_CLOCK and step.seconds else ""
        seconds = f"{step.seconds:.1f}" if step.seconds else ""
        rows.append((step.name, _WORDS[step.state], seconds, price))
    whole = cost_of_run(record)
    total = ("all, and the instance's start", "", f"{record.seconds:.1f}", f"{whole.total:.4f}" if whole else "")
    table = make_table(_COLUMNS, [*rows, total], title=f"{record.branch}: {record.outcome}")
    table.rows[-2].end_section = True
    return table


def verdict(record: RunRecord) -> str:
    """The run's outcome in a sentence."""
    values = record.outputs
    pull = f" Pull request: {values['pull_url']}" if "pull_url" in values else ""
    if record.outcome is RunOutcome.MERGED:
        return f"Merged: version {values['version']} is Production. {record.reason}{pull}"
    return f"{str(record.outcome).capitalize()}: {record.reason}{pull}"
