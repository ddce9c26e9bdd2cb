"""A job's output at the client: appended to a log, and shown on the terminal line by line.

Others may write to the bucket. So this module doesn't trust the output to be short, to have line ends, or to be free of
control characters for the terminal.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from wms.errors import from_os_error
from wms.names import harmless
from wms_ops.base.errors import CloudError

MOST_OUTPUT: Final = 64 * 2**20
"""Bytes of one job's output; a training of an hour writes some 100 KB."""

_LONGEST_LINE: Final = 64 * 2**10


class Listener:
    """Appends a command's output, which arrives in pieces, to a log and shows whole lines."""

    def __init__(self, log: Path, show: Callable[[str], None]) -> None:
        self._log, self._show, self._rest, self._left = log, show, b"", MOST_OUTPUT
        self.pieces = 0

    def hear(self, piece: bytes) -> None:
        """Take the next piece. Raises CloudError after MOST_OUTPUT bytes, DiskFullError, UnwritableError."""
        self.pieces += 1
        self._left -= len(piece)
        if self._left < 0:
            raise CloudError(
                f"The job wrote more than {MOST_OUTPUT:,} bytes of output, so it was given up; {self._log} has the "
                "first of them."
            )
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("ab") as stream:
                stream.write(piece)
        except OSError as error:
            raise from_os_error(error, self._log) from error
        *lines, self._rest = (self._rest + piece).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            self._show(harmless(line.decode("utf-8", "replace")))
        if len(self._rest) > _LONGEST_LINE:
            self.close()

    def close(self) -> None:
        """Show the last line, which may lack its end."""
        if self._rest:
            self._show(harmless(self._rest.decode("utf-8", "replace")))
            self._rest = b""
