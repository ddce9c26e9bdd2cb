"""A demo that plays in a process of its own, and how far it has come: its acts can be awaited one by one."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil
import pytest

from wms_ops.loop.contexts import local_cloud, run_store
from wms_ops.runs.record import RunOutcome, RunRecord, StepState

LIMIT_S = 240
"""Seconds for the next act; a test may take 300."""


@dataclass
class DemoProcess:
    """`folder` is the demo's own; its process is killed and its cloud ended by `close`."""

    folder: Path
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, folder: Path, command: Sequence[str], *, cwd: Path, environ: Mapping[str, str]) -> Self:
        """What it says goes to a file beside its folder."""
        with _log(folder).open("wb") as log:
            return cls(folder, subprocess.Popen(command, cwd=cwd, env=environ, stdout=log, stderr=subprocess.STDOUT))

    @property
    def said(self) -> str:
        return _log(self.folder).read_text(encoding="utf-8", errors="replace")

    def runs(self) -> list[RunRecord]:
        """The loop's runs, oldest first."""
        return run_store(self.folder / "loop").runs()

    def left(self) -> list[psutil.Process]:
        """Processes of its cloud."""
        return list(local_cloud(self.folder / "loop").processes())

    def wait_for_training(self) -> None:
        """Until a run trains."""
        self._wait("its training", lambda runs: bool(runs) and runs[-1].step("train").state is StepState.RUNNING)

    def wait_for_run(self, number: int) -> RunRecord:
        """Until the run of this number, from 1 on, has ended."""
        self._wait(
            f"the end of run {number}",
            lambda runs: len(runs) >= number and runs[number - 1].outcome is not RunOutcome.RUNNING,
        )
        return self.runs()[number - 1]

    def finish(self) -> int:
        """Until it ends by itself; returns its exit code."""
        return self.process.wait(LIMIT_S)

    def close(self) -> None:
        """Kill it and end its cloud."""
        self.process.kill()
        self.process.wait()
        if (self.folder / "loop").exists():
            local_cloud(self.folder / "loop").close()

    def _wait(self, what: str, reached: Callable[[list[RunRecord]], bool]) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not reached(self.runs()):
            if self.process.poll() is not None and not reached(self.runs()):
                pytest.fail(f"the demo ended before {what}: {self.said[-3000:]}")
            assert time.monotonic() < deadline, f"the demo didn't come to {what}: {self.said[-3000:]}"
            time.sleep(0.2)  # a poll's pause


def _log(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.log")
