"""Runs commands as a person would type them, and records them with their output."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from wms_ops.base.errors import PipelineError
from wms_ops.report.story import Event


@dataclass
class Shell:
    """Runs commands in `folder`; `said` is the text that a terminal would show, `events` are the named commands."""

    folder: Path
    environ: Mapping[str, str] = field(repr=False)
    show: Callable[[str], None] = print
    said: str = ""
    events: list[Event] = field(default_factory=list)

    def __call__(self, *command: str | Path, expect: int | None = 0, shown: str = "", event: str = "") -> str:
        """Run a command and return its output, both streams; `shown` is its text in the record, `event` its name.

        Raises PipelineError for another exit code than `expect`; None allows any.
        """
        arguments = [str(part) for part in command]
        began, clock = datetime.now(UTC).isoformat(timespec="milliseconds"), time.monotonic()
        done = subprocess.run(
            arguments,
            cwd=self.folder,
            env=dict(self.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if event:
            self.events.append(Event(event, began, time.monotonic() - clock))
        told = f"$ {shown or shlex.join(arguments)}\n{done.stdout}"
        self.said += told
        for line in told.rstrip().splitlines():
            self.show(line)
        if expect is not None and done.returncode != expect:
            last = next((line for line in reversed(done.stdout.splitlines()) if line.strip()), "no output")
            raise PipelineError(f"`{shlex.join(arguments)}` ended with {done.returncode}: {last}")
        return done.stdout

    def take(self) -> tuple[str, tuple[Event, ...]]:
        """Return the output and the events since the last call."""
        said, events = self.said, tuple(self.events)
        self.said = ""
        self.events.clear()
        return said, events
