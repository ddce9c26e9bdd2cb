"""Runs a user's command as on the instance: with the cloud's variables, a kept output, and an end with the cloud."""

from __future__ import annotations

import contextlib
import itertools
import os
import selectors
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from wms.errors import from_os_error
from wms_ops.base.errors import CloudError
from wms_ops.base.signals import ended_by_sigterm
from wms_ops.machine.processes import MARK, ROLE, end
from wms_ops.machine.workspace import GRACE_S, RUN, Workspace

_POLL_S: Final = 0.2
_BLOCK_BYTES: Final = 64 * 1024
_numbers = itertools.count(1)


def run_command(
    workspace: Workspace,
    command: Sequence[str],
    *,
    folder: Path,
    log: Path,
    begin: Callable[[], AbstractContextManager[None]],
    environ: Callable[[], Mapping[str, str]],
    show: Callable[[str], None],
) -> int:
    """Run a command in `folder` with exactly `environ()` and the cloud's mark; returns its exit code.

    A command that signal N ended gives 128 + N. The command starts inside of `begin()`. Both output streams are
    appended to `log` and handed to `show` line by line. An exception here ends the command and all its descendants.
    Raises CloudError for a missing program, DiskFullError, UnwritableError.
    """
    role = f"{RUN} {os.getpid()} {next(_numbers)}"
    with _appending(log) as keep, ended_by_sigterm():
        with begin():  # not around the command: a run takes hours, and others may change the cloud meanwhile
            process = _start(command, folder, {**environ(), MARK: workspace.mark, ROLE: role})
        workspace.step("command spawned")
        try:
            _listen(process, keep, show)
            code = process.wait()
        except BaseException:
            _end(workspace, role, process)
            raise
        finally:
            if process.stdout is not None:
                process.stdout.close()
    return code if code >= 0 else 128 - code


@contextlib.contextmanager
def _appending(log: Path) -> Iterator[Callable[[bytes], None]]:
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        stream = log.open("ab", buffering=0)
    except OSError as error:
        raise from_os_error(error, log) from error

    def keep(block: bytes) -> None:
        try:
            while block:
                block = block[stream.write(block) :]
        except OSError as error:
            raise from_os_error(error, log) from error

    with stream:
        yield keep


def _start(command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        where = "" if folder.is_dir() else f" in {folder}, which isn't a folder"
        reason = error.strerror or type(error).__name__
        raise CloudError(
            f"`{command[0]}` can't be started{where}: {reason}; install it, or correct its name."
        ) from error


def _listen(process: subprocess.Popen[bytes], keep: Callable[[bytes], None], show: Callable[[str], None]) -> None:
    """Hand on all output until the process has ended; its surviving children may hold the pipe for longer."""
    if process.stdout is None:
        raise CloudError("The command's output can't be read; run this again.")
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            ended = process.poll() is not None  # asked first, so that its last words are still read
            if selector.select(0 if ended else _POLL_S):
                block = os.read(process.stdout.fileno(), _BLOCK_BYTES)
                if not block:
                    break
                keep(block)
                *lines, rest = (rest + block).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
                for line in lines:
                    show(line.decode("utf-8", "replace"))
            elif ended:
                break
    if rest:
        show(rest.decode("utf-8", "replace"))


def _end(workspace: Workspace, role: str, process: subprocess.Popen[bytes]) -> None:
    end([marked.process for marked in workspace.find() if marked.role == role], GRACE_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # also a descendant that dropped the mark
    process.wait()
