"""The streams of a program: one may be closed, or lack a letter, or lose its reader, as `head` goes away."""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
from pathlib import Path


def open_streams() -> None:
    """Replace closed standard streams by the null device; a letter that a stream can't encode becomes an escape."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:  # closed by the shell, as by `>&-`
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - open to the end
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def reader_is_gone() -> bool:
    """Whether a pipe that this process prints into has no reader; then what is still printed goes nowhere.

    Other pipes and connections break, too: those of a child process or of a server, which is an error.
    """
    gone = False
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # a stream that is no file
            number = stream.fileno()
            if _is_broken(number):
                gone = True
                with Path(os.devnull).open("wb") as nowhere:
                    os.dup2(nowhere.fileno(), number)
    return gone


def _is_broken(number: int) -> bool:
    if sys.platform == "win32":
        return True  # it has no poll; nothing but the output raises BrokenPipeError there
    poll = select.poll()
    poll.register(number, 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
