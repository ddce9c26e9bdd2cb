"""A local cloud's folder: its state, its lock, its logs, and its processes among all that run here."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from wms.files import exclusive_lock
from wms_ops.base.errors import CloudError
from wms_ops.base.poll import poll
from wms_ops.machine.processes import MarkedProcess, end, find, is_taken, lives, mark_of
from wms_ops.machine.record import STATE, CloudRecord, read_record, write_record

S3, MLFLOW, SERVICE, RUN = "s3", "mlflow", "service", "run"
"""The roles of processes; a command's has the number of the process that started it behind it."""

GRACE_S: Final = 6.0
"""How long a process may take to end once it's asked to."""

_CLOSED_S: Final = 5.0

Say = Callable[[str], None]


def _nothing(_: str) -> None:
    pass


@dataclass(frozen=True)
class Workspace:
    """`show` hears what goes on, in sentences; `step` the name of each step after it has happened, for tests."""

    folder: Path
    show: Say = _nothing
    step: Say = _nothing

    @property
    def mark(self) -> str:
        """What all processes of this cloud carry."""
        return mark_of(self.folder)

    def command(self, words: str) -> str:
        """What to type for this cloud, for sentences."""
        return f"wms cloud {words} --target local --folder {shlex.quote(str(self.folder))}"

    @property
    def logs(self) -> Path:
        """The folder of all logs."""
        return self.folder / "logs"

    def log(self, role: str) -> Path:
        """A server's log; it's only ever appended to."""
        return self.logs / f"{role}.log"

    @property
    def releases(self) -> Path:
        """The folder of what is served."""
        return self.folder / SERVICE

    @property
    def exists(self) -> bool:
        """Whether there was ever a cloud here."""
        return (self.folder / STATE).exists()

    def read(self) -> CloudRecord:
        """The state. Raises CloudError for a damaged file."""
        return read_record(self.folder / STATE)

    def write(self, record: CloudRecord, step: str = "") -> CloudRecord:
        """Replace the state; returns it. Raises DiskFullError, UnwritableError."""
        write_record(self.folder / STATE, record)
        if step:
            self.step(step)
        return record

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time changes a cloud; the others wait. Raises DiskFullError, UnwritableError."""
        text = "Another process is changing the local cloud; waiting for it."
        with exclusive_lock(self.folder / "lock", waiting=lambda: self.show(text)):
            yield

    def find(self) -> list[MarkedProcess]:
        """All living processes of this cloud."""
        return find(self.mark)

    def living(self, role: str, pid: int) -> psutil.Process | None:
        """The process that has this number, unless it's another one by now: numbers are used again."""
        return next((one.process for one in self.find() if pid and (one.role, one.process.pid) == (role, pid)), None)

    def end(self, found: Iterable[MarkedProcess], ports: Iterable[int] = ()) -> None:
        """End processes and see to it that they and their ports are gone. Raises CloudError for what is left."""
        patient = {False: [], True: []}  # type: dict[bool, list[psutil.Process]]
        for one in found:
            patient[one.role != S3].append(one.process)  # S3 takes 17 s if asked; what it has taken is on the disk
        left = [*end(patient[True], GRACE_S), *end(patient[False], 0)]
        if left:
            pid = left[0].pid
            raise CloudError(f"Process {pid} of the local cloud doesn't end; look at it with `ps {pid}`.")
        held = list(ports)
        if taken := poll(lambda: [port for port in held if is_taken(port)], _CLOSED_S, until=lambda them: not them):
            raise CloudError(
                f"Port {taken[0]} is still listened on though the local cloud's processes are gone; "
                f"find out by whom with `lsof -i :{taken[0]}`."
            )

    def end_strays(self, record: CloudRecord) -> None:
        """End what a killed process has left: servers that no state names, commands without their starter.

        Raises CloudError.
        """
        found = self.find()
        roots = {one.process.pid for one in found if one.process.pid in record.pids}
        strays = [one for one in found if _is_stray(one, roots)]
        if strays:
            self.show(f"Ending {len(strays)} processes that a killed command has left.")
            self.end(strays)
            self.step("strays ended")


def _is_stray(one: MarkedProcess, roots: set[int]) -> bool:
    """`roots`: the processes that the state names; their children belong to them."""
    with contextlib.suppress(psutil.Error, ValueError):
        kind, *starter = one.role.split(" ")
        if kind == RUN:
            return not lives(psutil.Process(int(starter[0])))
        return not roots & {one.process.pid, *(parent.pid for parent in one.process.parents())}
    return one.role.startswith(RUN)  # whoever started it is gone
