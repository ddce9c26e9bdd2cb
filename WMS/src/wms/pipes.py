"""The streams of a program: one may be closed, or lack a letter, or lose its reader, as `head` goes away."""

from __future__ import annotations

import contextlib
import io
import os
import re
import select
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, TextIO, cast

_END: Final = "[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]"
# GitHub's runner drops blanks before a command, those of Unicode, too.
_BLANK: Final = "[\x00-\x20\x7f-\xa0\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u2064\u3000\ufeff]"
_COMMAND: Final = re.compile(rf"(?:(?:^|(?<={_END})){_BLANK}*(?=:))|(?<=##)(?=\[)")


class HarmlessStream:
    """A text stream into the log of a GitHub workflow, in which no text is taken for one of its commands.

    GitHub runs what a line of the log begins with as `::set-env`, and `##[` anywhere. Names of files, photos and runs,
    and what a job printed, come from others; a backslash before such a text makes it a text and no more.

    >>> shown = io.StringIO()
    >>> print("photo", "\\n ::add-mask::a", file=HarmlessStream(shown), end="")
    >>> shown.getvalue()
    'photo \\n \\\\::add-mask::a'
    """

    def __init__(self, inner: TextIO) -> None:
        self.inner = inner
        self._line = ""  # what is known of the unfinished line: blanks only, or its last two characters

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def write(self, text: str) -> int:
        """Write a text, which may be a piece of a line."""
        whole = self._line + text
        self.inner.write(_COMMAND.sub(lambda found: found[0] + "\\", whole)[len(self._line) :])
        last = re.split(_END, whole)[-1]
        self._line = last if re.fullmatch(f"{_BLANK}*", last) else f"x{last[-2:]}"
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts, as `write` does."""
        for line in lines:
            self.write(line)

    def command(self, text: str) -> None:
        """Write a command of this program's own to GitHub, on a line of its own."""
        self.inner.write(text + "\n" if not self._line else f"\n{text}\n")
        self._line = ""


def open_streams() -> None:
    """Replace closed standard streams by the null device; a letter that a stream can't encode becomes an escape."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:  # closed by the shell, as by `>&-`
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - open to the end
            continue
        if mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        if mode == "w" and os.environ.get("GITHUB_ACTIONS") == "true" and not isinstance(stream, HarmlessStream):
            setattr(sys, name, cast(TextIO, HarmlessStream(stream)))


def print_command(text: str) -> None:
    """Print a command to GitHub, such as `::notice::Done.`, as no other text reaches its runner."""
    # While rich draws a progress bar, its own stream stands here, and would hand a command on as a text: a mask, with
    # the password in it.
    stream = getattr(sys.stdout, "rich_proxied_file", sys.stdout)
    if isinstance(stream, HarmlessStream):
        stream.command(text)
    else:
        print(text, file=stream)
    stream.flush()


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
