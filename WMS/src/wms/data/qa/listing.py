"""Lists a folder of photos or masks, and pairs them by name alone, without opening a file.

Unlike `wms.data.pairs`, this module reports every mistake.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from wms.data.kinds import HEIC_SUFFIXES, SUFFIXES
from wms.data.pairs import stem_of
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
            is_image = Path(entry.name).suffix.lower() in SUFFIXES | HEIC_SUFFIXES
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


def by_stem(listing: Listing | None) -> dict[str, list[str]]:
    """The names of a folder's images by stem; several names for a stem are a mistake."""
    found: dict[str, list[str]] = {}
    for name in listing.files if listing else ():
        found.setdefault(stem_of(name), []).append(name)
    return found


def match(images: Listing | None, masks: Listing | None) -> Iterator[tuple[str, str]]:
    """(Image file, mask file) of each stem that both folders have; the first file if several share the stem."""
    of_mask = by_stem(masks)
    for stem, names in by_stem(images).items():
        if stem in of_mask:
            yield f"images/{names[0]}", f"masks/{of_mask[stem][0]}"
