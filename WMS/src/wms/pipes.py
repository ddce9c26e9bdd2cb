"""The pipes that a program prints into, whose readers may go away, as `head` does when it has enough."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from pathlib import Path


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
