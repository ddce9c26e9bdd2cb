"""Opens files that others may have put in their place: a pipe, a socket or a device there would make a reader wait."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedIOBase
from pathlib import Path
from typing import Final, cast

_KINDS: Final = ((stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"))


def is_present(path: Path) -> bool:
    """Whether `path`, after symbolic links, is there. Raises OSError if that is a pipe, a socket or a device.

    A folder passes: the system refuses to read it as a file, and says so.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        kind = next((text for test, text in _KINDS if test(mode)), "a device")
        raise OSError(errno.EINVAL, f"it is {kind}, not a file", str(path))
    return True


def open_regular(path: Path, mode: str = "rb") -> BufferedIOBase:
    """Open a file in binary mode. Raises OSError as `open` does, and at once for a pipe, a socket or a device."""
    is_present(path)
    # Without waiting, in case a pipe took the file's place a moment ago.
    no_wait = getattr(os, "O_NONBLOCK", 0)
    return cast("BufferedIOBase", open(path, mode, opener=lambda name, flags: os.open(name, flags | no_wait)))


def read_regular(path: Path) -> bytes:
    """The content of a file. Raises OSError as `open_regular` does."""
    with open_regular(path) as stream:
        return stream.read()


def read_regular_text(path: Path) -> str:
    """The content of a UTF-8 file. Raises OSError as `open_regular` does, and UnicodeDecodeError."""
    return read_regular(path).decode("utf-8")
