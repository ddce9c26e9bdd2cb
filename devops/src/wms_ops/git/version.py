"""The git versions that this project works with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from wms_ops.base.errors import GitError
from wms_ops.git.command import Git

OLDEST_GIT: Final = (2, 38)  # `git merge-tree --write-tree`


def require_git(said: str | None = None) -> str:
    """Return git's version, `said` or what `git --version` prints. Raises GitError if git is too old or missing."""
    text = (said if said is not None else Git(Path.cwd())("--version")).strip()
    found = re.search(r"(\d+)\.(\d+)", text)
    numbers = (int(found[1]), int(found[2])) if found else (0, 0)
    if numbers < OLDEST_GIT:
        wanted = ".".join(map(str, OLDEST_GIT))
        raise GitError(f"{text or 'git'} is too old: git {wanted} or newer is needed; install that one.")
    return text
