"""What has to be there before the demo begins: a sentence instead of a failure in the middle."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

from wms.errors import DiskFullError, from_os_error
from wms_ops.base.errors import GitError
from wms_ops.git.command import Git

OLDEST_GIT: Final = (2, 38)  # `git merge-tree --write-tree`
NEEDED_BYTES: Final = 1_000_000_000
"""What the demo writes at most, with a margin: photos, models, the servers' data."""


def check_git(version: str | None = None) -> None:
    """Raise GitError where git is absent or too old; `version` is what `git --version` says."""
    text = version if version is not None else Git(Path.cwd())("--version")
    found = re.search(r"(\d+)\.(\d+)", text)
    numbers = (int(found[1]), int(found[2])) if found else (0, 0)
    if numbers < OLDEST_GIT:
        wanted = ".".join(map(str, OLDEST_GIT))
        raise GitError(f"{text.strip() or 'git'} is too old: git {wanted} or newer is needed; install that one.")


def check_disk(folder: Path, needed: int = NEEDED_BYTES) -> None:
    """Raise DiskFullError where the folder's disk has less than `needed` bytes left."""
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
