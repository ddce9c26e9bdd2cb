"""Processes that belong to a cloud: each carries the cloud's mark, by which any later command finds the process.

The mark is an environment variable: children inherit it, and a process carries it from its first moment. So a process
isn't lost if its starter is killed before the pid is written down.
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
"""The names in the release before this one. This release finds their processes, too."""

_POLL_S: Final = 0.05
_KILLED_S: Final = 15.0
_NEWBORN_S: Final = 2.0
_BLINK_S: Final = 0.005

# Kept so that their exit codes are collected: else an ended child stays in the process table as a zombie.
_children: list[subprocess.Popen[bytes]] = []
_lock = threading.Lock()


@dataclass(frozen=True)
class MarkedProcess:
    """A process that carries a cloud's mark, and the role that its children share."""

    role: str
    process: psutil.Process


def mark_of(folder: Path) -> str:
    """The mark of the cloud in `folder`: the same for every user, and even after the folder was deleted."""
    return hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]


def find(mark: str) -> list[MarkedProcess]:
    """All living processes with this mark, except this process and its ancestors."""
    _reap()
    own = psutil.Process()
    spared = {own.pid, *(parent.pid for parent in own.parents())}
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):  # another user's, or gone meanwhile
            if process.pid not in spared and (role := _role(_environ_of(process), mark)) is not None and lives(process):
                found.append(MarkedProcess(role, process))
    return found


def _role(environ: Mapping[str, str], mark: str) -> str | None:
    """The role of a process with these variables in the cloud with this mark; None for a process of another cloud."""
    names = ((MARK, ROLE), _BEFORE)
    return next((environ.get(role, "") for name, role in names if environ.get(name) == mark), None)


def unmarked(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables without a cloud's mark; WMS_CLOUD, a user's choice, is dropped only with an old mark's value."""
    dropped = {MARK, ROLE, *(_BEFORE if _BEFORE[1] in environ else ())}
    return {name: value for name, value in environ.items() if name not in dropped}


def _environ_of(process: psutil.Process) -> dict[str, str]:
    """A process's variables. Between the program's start and its first instruction they can't be read."""

    def is_settled(environ: dict[str, str]) -> bool:
        return bool(environ) or time.time() - process.create_time() >= _NEWBORN_S or not process.exe()

    return poll(process.environ, _NEWBORN_S, until=is_settled, pause_s=_BLINK_S)


def lives(process: psutil.Process) -> bool:
    """Whether a process runs; an ended process whose parent hasn't collected its exit code doesn't."""
    try:
        if process.is_running() and process.status() == psutil.STATUS_ZOMBIE:
            return process.num_threads() > 1  # the first thread is gone, but files and ports are still held
        return process.is_running()
    except psutil.NoSuchProcess:
        return False


def spawn(
    command: Sequence[str], *, mark: str, role: str, folder: Path, environ: Mapping[str, str], log: Path
) -> psutil.Process:
    """Start a process in a new session, with output appended to `log`. Raises CloudError, DiskFullError."""
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
    process = psutil.Process(child.pid)  # before _reap may collect the child and the system reuse its pid
    with _lock:
        _children.append(child)
    return process


def end(processes: Iterable[psutil.Process], grace_s: float) -> list[psutil.Process]:
    """Terminate processes, kill those that still run after `grace_s` seconds; returns those left even so."""
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

    return poll(left, seconds, until=lambda processes: not processes, pause_s=_POLL_S)


def _reap() -> None:
    with _lock:
        _children[:] = [child for child in _children if child.poll() is None]


def draw_ports(count: int) -> list[int]:
    """Different TCP ports on loopback, in rising order, that were free a moment ago."""
    with contextlib.ExitStack() as sockets:  # all stay open until the last is drawn, so that no port comes twice
        drawn: set[int] = set()
        while len(drawn) < count:
            probe = sockets.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            drawn.add(int(probe.getsockname()[1]))
    return sorted(drawn)


def is_taken(port: int) -> bool:
    """Whether a program listens on this port of loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # else connections in TIME_WAIT count as taken
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def now() -> str:
    """The time as UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
