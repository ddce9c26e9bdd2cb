"""Deletes files without following a symbolic link: a folder that is a link leads to files of others.

A link may come with a commit, or take a folder's place while a command is at work. So folders are opened one after the
other, each without following a link, and names are deleted in the folder that was opened, whatever its path leads to by
then. Windows can't open folders: there the folders are looked at before.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from wms.errors import UnwritableError, from_os_error

_BY_DESCRIPTOR: Final = sys.platform != "win32"


def refuse_links(folder: Path, top: Path) -> None:
    """Raise UnwritableError if `folder`, or a folder between it and `top`, is a symbolic link.

    `top` itself, which the user chose, may be a link; a folder outside of `top` is looked at alone.
    """
    for path in _between(folder, top):
        if path.is_symlink():
            raise UnwritableError(
                f"{path} is a symbolic link to {path.resolve()}, so nothing was deleted or written there: replace the "
                "link by a folder, then run this again."
            )


def remove_files(folder: Path, top: Path, goes: Callable[[str], bool]) -> int:
    """Delete each file below `folder` whose relative path, with slashes, `goes`; returns their number.

    An absent folder has none. A link to a file is deleted itself, a linked folder inside stays unseen. Raises
    UnwritableError for a link between `top` and `folder`, before anything is deleted.
    """
    refuse_links(folder, top)
    try:
        if not _BY_DESCRIPTOR:
            return _remove_by_path(folder, goes)
        descriptor = _open(folder, top)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise from_os_error(error, folder) from error
    removed = 0
    try:
        for where, _, names, at in os.fwalk(".", dir_fd=descriptor):
            inside = "" if where == "." else f"{where.removeprefix('./')}/"
            for name in names:
                if goes(inside + name):
                    os.unlink(name, dir_fd=at)
                    removed += 1
    except OSError as error:
        raise from_os_error(error, folder) from error
    finally:
        os.close(descriptor)
    return removed


def remove_file(path: Path, top: Path) -> None:
    """Delete a file, or a link to it. Raises UnwritableError, also for a link between `top` and the file's folder."""
    refuse_links(path.parent, top)
    try:
        if not _BY_DESCRIPTOR:
            path.unlink()
            return
        descriptor = _open(path.parent, top)
        try:
            os.unlink(path.name, dir_fd=descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise from_os_error(error, path) from error


def _between(folder: Path, top: Path) -> list[Path]:
    """Return the folders from below `top` down to `folder`."""
    parts = folder.relative_to(top).parts if folder.is_relative_to(top) else ()
    return [top.joinpath(*parts[:count]) for count in range(1, len(parts) + 1)] or [folder]


def _open(folder: Path, top: Path) -> int:
    """Open a folder by way of each folder above. Raises OSError, also for a link."""
    first, *others = _between(folder, top)
    descriptor = os.open(first.parent, os.O_RDONLY | os.O_DIRECTORY)
    for path in (first, *others):
        try:
            inner = os.open(path.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


def _remove_by_path(folder: Path, goes: Callable[[str], bool]) -> int:
    gone = [path for path in folder.rglob("*") if not path.is_dir() and goes(path.relative_to(folder).as_posix())]
    for path in gone:
        path.unlink()
    return len(gone)
