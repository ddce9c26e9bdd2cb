"""A command on a pseudo-terminal, as a person meets it: it shows, somebody types, Ctrl-C is a signal."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

CTRL_C, CTRL_D = "\x03", "\x04"
PATIENCE_S = 60.0

# The terminal becomes that of the command's session; only then does Ctrl-C reach it.
ENTER = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


class Terminal:
    """Runs a command (its program an absolute path); `shown` is all that it wrote so far."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], folder: Path, *, columns: int = 160) -> None:
        self.shown = ""
        self._answered = 0
        self._master, slave = pty.openpty()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", ENTER, *command],
                stdin=slave,
                stdout=slave,
                stderr=slave,
                # Both, since rich takes a size from here only if it is whole.
                env={**environ, "TERM": "dumb", "COLUMNS": str(columns), "LINES": "25"},
                cwd=folder,
                start_new_session=True,
            )
        finally:
            os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait(timeout=30)
        os.close(self._master)

    def wait_for(self, text: str) -> None:
        """Return once `text` has been shown since the last answer, and the command waits for the next one."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.shown[self._answered :]:
            assert self._read(deadline), f"{text!r} was never shown, but:\n{self.shown}"
        # Python doesn't notice a signal that comes between its question and its reading, until something is typed.
        while psutil.Process(self._process.pid).status() != psutil.STATUS_SLEEPING:
            assert time.monotonic() < deadline, "the command doesn't wait for an answer"
            time.sleep(0.01)  # a poll's pause

    def type(self, text: str) -> None:
        """Press these keys; the Enter key is "\\n"."""
        self._answered = len(self.shown)
        os.write(self._master, text.encode())

    def finish(self) -> int:
        """The exit code, once the command has ended."""
        deadline = time.monotonic() + PATIENCE_S
        while self._read(deadline):
            continue
        code = self._process.wait(timeout=max(deadline - time.monotonic(), 1))
        assert "Traceback" not in self.shown, self.shown
        return code

    def _read(self, deadline: float) -> bool:
        """Read what has come; False at the end, or when time is over."""
        ready, _, _ = select.select([self._master], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            return False
        try:
            content = os.read(self._master, 65536)
        except OSError:  # EIO: nobody holds the other end any more
            return False
        self.shown += content.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(content)
