"""Processes that belong to a cloud: each carries its mark, by which it's found again whoever started it.

The mark is a variable of the environment: children inherit it, and it's there from a process's first moment, so that
nothing is lost when whoever starts a process is killed before its number is written down.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psutil

from wms.errors import from_os_error
from wms_ops.base.errors import CloudError
from wms_ops.base.poll import poll

MARK: Final = "WMS_PROCESS_MARK"
ROLE: Final = "WMS_PROCESS_ROLE"
_BEFORE: Final = ("WMS_CLOUD", "WMS_CLOUD_ROLE")
"""The names in the release before this one. Its processes are found, too, as long as this release lasts."""

_POLL_S: Final = 0.05
_KILLED_S: Final = 15.0
_NEWBORN_S: Final = 2.0
_BLINK_S: Final = 0.005

# Kept so that their ends are noticed: a child that nobody asks for stays in the process table.
_children: list[subprocess.Popen[bytes]] = []
_lock = threading.Lock()


@dataclass(frozen=True)
class MarkedProcess:
    """A process that carries a cloud's mark, and its role there, which its children share."""

    role: str
    process: psutil.Process


def mark_of(folder: Path) -> str:
    """The mark of the cloud in `folder`: the same for everybody, and even after the folder was deleted."""
    return hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]


def find(mark: str) -> list[MarkedProcess]:
    """All living processes with this mark, but for this one and those it descends from."""
    _reap()
    own = psutil.Process()
    spared = {own.pid, *(parent.pid for parent in own.parents())}
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):  # somebody else's, or gone meanwhile
            if process.pid not in spared and (role := _role(_environ_of(process), mark)) is not None and lives(process):
                found.append(MarkedProcess(role, process))
    return found


def _role(environ: Mapping[str, str], mark: str) -> str | None:
    """The role of a process with these variables in the cloud with this mark; None where it's none of its."""
    names = ((MARK, ROLE), _BEFORE)
    return next((environ.get(role, "") for name, role in names if environ.get(name) == mark), None)


def unmarked(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables without a cloud's mark; WMS_CLOUD, a user's choice, goes where it holds an old mark."""
    dropped = {MARK, ROLE, *(_BEFORE if _BEFORE[1] in environ else ())}
    return {name: value for name, value in environ.items() if name not in dropped}


def _environ_of(process: psutil.Process) -> dict[str, str]:
    """Its variables. For a moment between its program's start and its first instruction there are none to be read."""

    def is_settled(environ: dict[str, str]) -> bool:
        return bool(environ) or time.time() - process.create_time() >= _NEWBORN_S or not process.exe()

    return poll(process.environ, _NEWBORN_S, until=is_settled, pause_s=_BLINK_S)


def lives(process: psutil.Process) -> bool:
    """Whether a process runs; one that ended and that its parent hasn't asked for yet doesn't."""
    try:
        if process.is_running() and process.status() == psutil.STATUS_ZOMBIE:
            return process.num_threads() > 1  # the first thread is gone, but files and ports are still held
        return process.is_running()
    except psutil.NoSuchProcess:
        return False


def spawn(
    command: Sequence[str], *, mark: str, role: str, folder: Path, environ: Mapping[str, str], log: Path
) -> psutil.Process:
    """Start a process in a session of its own, its output at the end of `log`. Raises CloudError, DiskFullError."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as stream:
            stream.write(f"--- {now()} start of {role}\n".encode())
            stream.flush()
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                cwd=folder,
                env={**environ, MARK: mark, ROLE: role},
                start_new_session=True,
            )
    except (FileNotFoundError, PermissionError) as error:
        raise CloudError(f"{command[0]} can't be started ({error.strerror}); run `make install`.") from error
    except OSError as error:
        raise from_os_error(error, log) from error
    process = psutil.Process(child.pid)  # while it can't have been forgotten yet
    with _lock:
        _children.append(child)
    return process


def end(processes: Iterable[psutil.Process], grace_s: float) -> list[psutil.Process]:
    """Ask processes to end, kill those that don't within `grace_s` seconds; returns any that are left even so."""
    left = [process for process in processes if lives(process)]
    if grace_s > 0:
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        left = _wait(left, grace_s)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return _wait(left, _KILLED_S)


def _wait(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    def left() -> list[psutil.Process]:
        _reap()
        return [process for process in processes if lives(process)]

    return poll(left, seconds, until=lambda them: not them, pause_s=_POLL_S)


def _reap() -> None:
    with _lock:
        _children[:] = [child for child in _children if child.poll() is None]


def draw_ports(count: int) -> list[int]:
    """Different TCP ports on loopback, in rising order, that nobody listened on a moment ago."""
    with contextlib.ExitStack() as open_ones:
        drawn: set[int] = set()
        while len(drawn) < count:
            probe = open_ones.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            drawn.add(int(probe.getsockname()[1]))
    return sorted(drawn)


def is_taken(port: int) -> bool:
    """Whether somebody listens on this port of loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # else connections that just ended count
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def now() -> str:
    """The time as UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
