"""A job's output as the client hears it: into a log, and on the terminal line by line.

Others may write to the bucket. So the output isn't trusted to be short, to have line ends, or to leave the terminal
alone.
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
    """Puts a command's output, which comes in pieces, into a log and shows it in whole lines."""

    def __init__(self, log: Path, show: Callable[[str], None]) -> None:
        self._log, self._show, self._rest, self._left = log, show, b"", MOST_OUTPUT
        self.pieces = 0

    def hear(self, piece: bytes) -> None:
        """The next piece. Raises CloudError for too much of it, DiskFullError, UnwritableError."""
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
        """The last line may lack its end."""
        if self._rest:
            self._show(harmless(self._rest.decode("utf-8", "replace")))
            self._rest = b""
