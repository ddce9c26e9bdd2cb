"""The instance's units of systemd that the agent starts and stops, and the files that it hands over to their users."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path
from typing import Final

from wms.files import write_atomic
from wms_ops.base.errors import CloudError

User = int | str
"""A user's name, or the number that is a user's and a group's, for tests."""

_LIMIT_S: Final = 120.0


def control(verb: str, unit: str) -> None:
    """Let systemd "start", "restart" or "stop" a unit, and wait for that. Raises CloudError."""
    try:
        done = subprocess.run(
            ["systemctl", verb, f"{unit}.service"], capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )
        problem = done.stderr.strip() if done.returncode else ""
    except (OSError, subprocess.SubprocessError) as error:
        problem = str(error)
    if problem:
        raise CloudError(f"systemctl can't {verb} {unit}: {problem[:300]}; look at `journalctl -u {unit}`.")


def own_folder(path: Path, user: User) -> None:
    """Make a folder that this user alone writes to and reads."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    uid, gid = _ids(user)
    os.chown(path, uid, gid)


def shown_folder(path: Path, user: User) -> None:
    """Make a folder of this process's own that this user reads."""
    path.mkdir(parents=True, exist_ok=True)
    os.chown(path, -1, _ids(user)[1])
    path.chmod(0o750)


def show_file(path: Path, content: str, user: User) -> None:
    """Write a file of this process's own that this user alone reads, too; it never stands there open to others."""
    new = path.with_name(f"{path.name}.new")
    write_atomic(new, content, private=True)
    os.chown(new, -1, _ids(user)[1])
    new.chmod(0o640)
    new.replace(path)


def give(path: Path, user: User) -> None:
    """Give a file to this user alone; a link is given away itself, never the file that it names."""
    uid, gid = _ids(user)
    os.chown(path, uid, gid, follow_symlinks=False)


def _ids(user: User) -> tuple[int, int]:
    if isinstance(user, int):
        return user, user
    try:
        found = pwd.getpwnam(user)
    except KeyError as error:
        raise CloudError(f"This machine has no user {user}; bootstrap.sh makes that user.") from error
    return found.pw_uid, found.pw_gid
