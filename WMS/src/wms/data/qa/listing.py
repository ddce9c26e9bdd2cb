"""Lists a folder of photos or masks without opening a file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from wms.data.images import SUFFIXES
from wms.data.qa.facts import Listing
from wms.errors import DataNotFoundError


def list_folder(folder: Path) -> Listing | None:
    """The entries of `folder`; None for an absent folder. Hidden files that aren't images don't count.

    Raises DataNotFoundError for a folder that can't be listed.
    """
    if not folder.is_dir():
        return None
    try:
        return _list(folder)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataNotFoundError(f"Can't list {folder}: {reason}; change its permissions.") from error


def _list(folder: Path) -> Listing:
    files, others, empty = [], [], set()
    with os.scandir(folder) as entries:
        for entry in entries:
            is_image = Path(entry.name).suffix.lower() in SUFFIXES
            if entry.name.startswith(".") and not is_image:
                continue
            kind = _kind(entry)
            if kind == "file" and is_image:
                files.append(entry.name)
                if entry.stat(follow_symlinks=False).st_size == 0:
                    empty.add(entry.name)
            else:
                others.append((entry.name, kind))
    return Listing(tuple(sorted(files)), tuple(sorted(others)), frozenset(empty))


def _kind(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return "symlink"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode) else "special"
