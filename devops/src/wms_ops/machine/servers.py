"""A server of the local cloud: its start, and the proof that it works."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from wms.errors import DiskFullError
from wms_ops.base.errors import CloudError
from wms_ops.base.poll import poll
from wms_ops.machine.processes import is_taken, lives, spawn
from wms_ops.machine.workspace import Workspace

START_S: Final = 120.0
"""Each server takes seconds to start, far more on a busy machine."""

_REPORT_S: Final = 10.0
_LAST_LINES: Final = 8
_LAST_BYTES: Final = 20_000


class PortTakenError(CloudError):
    """A server ended because another program has one of the ports; the caller tries again with other ports."""


@dataclass(frozen=True)
class Server:
    """A server to start. `probe` returns None once the server works, else the reason in a few words.

    `probe` raises CloudError where waiting is no use.
    """

    role: str
    title: str
    command: Sequence[str]
    folder: Path
    environ: Mapping[str, str] = field(repr=False)
    ports: Sequence[int]
    probe: Callable[[], str | None]


@dataclass(frozen=True)
class Started:
    """A server's process, and the length in bytes of its log at the start."""

    server: Server
    process: psutil.Process
    log: Path
    log_before: int


def start(workspace: Workspace, server: Server) -> Started:
    """Start a server's process without waiting for it. Raises CloudError, DiskFullError, UnwritableError."""
    log = workspace.log(server.role)
    before = log.stat().st_size if log.exists() else 0
    process = spawn(
        server.command, mark=workspace.mark, role=server.role, folder=server.folder, environ=server.environ, log=log
    )
    return Started(server, process, log, before)


def wait(workspace: Workspace, started: Started, limit_s: float = START_S) -> None:
    """Return once the server works. Raises CloudError with the end of its log, PortTakenError or DiskFullError."""
    server = started.server
    told = 0.0

    def waiting(reason: str | None, seconds: float) -> None:
        nonlocal told
        if not lives(started.process):
            raise _died(started)
        if seconds - told >= _REPORT_S:
            told = seconds
            workspace.show(f"Waiting for {server.title}: {seconds:.0f} of at most {limit_s:.0f} s ({reason}).")

    reason = poll(server.probe, limit_s, until=lambda why: why is None, waiting=waiting)
    if not lives(started.process):  # an answer then came from another program
        raise _died(started)
    if reason is not None:
        raise CloudError(f"{server.title} doesn't answer after {limit_s:.0f} s ({reason}). {_said(started)}")


def _died(started: Started) -> Exception:
    text = _tail(started)
    title = started.server.title
    if any(is_taken(port) for port in started.server.ports) or "address already in use" in text.lower():
        return PortTakenError(f"{title} can't start: somebody else took its port. {_said(started)}")
    if "no space left on device" in text.lower() or "disk is full" in text.lower():
        return DiskFullError(f"No space left on the disk for {title}; free some and run it again.")
    return CloudError(f"{title} ended at its start. {_said(started)}")


def _said(started: Started) -> str:
    lines = [line for line in _tail(started).splitlines() if line.strip() and not line.startswith("--- ")]
    said = "\n".join(f"  {line[:300]}" for line in lines[-_LAST_LINES:]) or "  (nothing)"
    return f"Its log, {started.log}, ends so:\n{said}"


def _tail(started: Started) -> str:
    """The end of the text that the process itself has written."""
    try:
        with started.log.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(started.log_before, size - _LAST_BYTES))
            return stream.read().decode("utf-8", "replace")
    except OSError:
        return ""
