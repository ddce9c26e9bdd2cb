"""A local cloud's folder: state, lock, logs, and the cloud's processes among all of this machine."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from wms.files import exclusive_lock, write_atomic
from wms.regular import read_regular
from wms_ops.base.errors import CloudError
from wms_ops.base.poll import poll
from wms_ops.machine.processes import MarkedProcess, end, find, is_taken, lives, mark_of
from wms_ops.machine.record import STATE, CloudRecord

S3, MLFLOW, SERVICE, RUN = "s3", "mlflow", "service", "run"
"""The roles of processes; a command's role also holds the pid of its starter."""

GRACE_S: Final = 6.0
"""How long a process may take to end after SIGTERM."""

_CLOSED_S: Final = 5.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Workspace:
    """The folder of a local cloud. `show` hears sentences; `step`, for tests, the name of each step after its end."""

    folder: Path
    show: Say = lambda _: None
    step: Say = lambda _: None

    @property
    def mark(self) -> str:
        """The mark that all processes of this cloud carry."""
        return mark_of(self.folder)

    def command(self, words: str) -> str:
        """A shell command for this cloud, for use in sentences."""
        return f"wms cloud {words} --target local --folder {shlex.quote(str(self.folder))}"

    @property
    def logs(self) -> Path:
        """The folder of all logs."""
        return self.folder / "logs"

    def log(self, role: str) -> Path:
        """A server's log; writers only append."""
        return self.logs / f"{role}.log"

    @property
    def releases(self) -> Path:
        """The folder of the served releases."""
        return self.folder / SERVICE

    @property
    def exists(self) -> bool:
        """Whether this folder ever had a cloud."""
        return (self.folder / STATE).exists()

    def read(self) -> CloudRecord:
        """The state; an empty state for a missing file. Raises CloudError for an unreadable file."""
        path, stop = self.folder / STATE, self.command("down --all")
        hint = f"run `{stop}`, which ends all processes and forgets that file"
        try:
            return CloudRecord.parse(read_regular(path), str(path), CloudError, hint)
        except FileNotFoundError:
            return CloudRecord()
        except OSError as error:
            raise CloudError(f"{path} can't be read ({error.strerror}); {hint}.") from error

    def write(self, record: CloudRecord, step: str = "") -> CloudRecord:
        """Replace the state; returns the new state. Raises DiskFullError, UnwritableError."""
        write_atomic(self.folder / STATE, record.model_dump_json(indent=1) + "\n")
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
        """The living process with this role and pid, or None."""
        return named(self.find(), role, pid)

    def end(self, found: Iterable[MarkedProcess], ports: Iterable[int] = ()) -> None:
        """End processes and wait until they and their ports are gone. Raises CloudError for any that is left."""
        ending = list(found)
        # S3 takes 17 s if asked, and its data is on the disk already: it's killed at once.
        left = end([marked.process for marked in ending if marked.role != S3], GRACE_S)
        left += end([marked.process for marked in ending if marked.role == S3], 0)
        if left:
            pid = left[0].pid
            raise CloudError(f"Process {pid} of the local cloud doesn't end; look at it with `ps {pid}`.")
        held = list(ports)
        if taken := poll(lambda: [port for port in held if is_taken(port)], _CLOSED_S, until=lambda ports: not ports):
            raise CloudError(
                f"Port {taken[0]} is still listened on though the local cloud's processes are gone; "
                f"find out by whom with `lsof -i :{taken[0]}`."
            )

    def end_strays(self, record: CloudRecord) -> None:
        """End orphans of a killed command: servers that no state names, commands without their starter.

        Raises CloudError.
        """
        found = self.find()
        roots = {marked.process.pid for marked in found if marked.process.pid in record.pids}
        orphans = [marked for marked in found if _is_orphan(marked, roots)]
        if orphans:
            self.show(f"Ending {len(orphans)} processes that a killed command has left.")
            self.end(orphans)
            self.step("strays ended")


def named(found: Iterable[MarkedProcess], role: str, pid: int) -> psutil.Process | None:
    """The process with this role and pid; the pid alone says little, since systems reuse pids."""
    return next((it.process for it in found if pid and (it.role, it.process.pid) == (role, pid)), None)


def _is_orphan(marked: MarkedProcess, roots: set[int]) -> bool:
    """Whether a process is an orphan; `roots` are the pids in the state, whose children belong to them."""
    with contextlib.suppress(psutil.Error, ValueError):
        kind, *starter = marked.role.split(" ")
        if kind == RUN:
            return not lives(psutil.Process(int(starter[0])))
        return not roots & {marked.process.pid, *(parent.pid for parent in marked.process.parents())}
    return marked.role.startswith(RUN)  # the starter is gone
