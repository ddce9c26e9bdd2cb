"""The demo's preconditions: an early sentence instead of a failure in the middle."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from wms.errors import DiskFullError, from_os_error

NEEDED_BYTES: Final = 1_000_000_000
"""Upper bound of the demo's files, with a margin: photos, models, the servers' data."""


def check_disk(folder: Path, needed: int = NEEDED_BYTES) -> None:
    """Raise DiskFullError if the folder's disk has less than `needed` bytes left."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise from_os_error(error, folder) from error
    if free < needed:
        raise DiskFullError(
            f"{folder} has {free / 1e9:.1f} GB left, but the demo needs {needed / 1e9:.1f}; free some, or choose "
            "another place with --folder."
        )
