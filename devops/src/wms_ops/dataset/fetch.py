"""Brings a version of the data set into a folder: only what isn't there yet, each file verified by its MD5.

What `dvc pull` does, without DVC's bookkeeping over files that didn't change. A note beside the files says which
content was brought, with size and time: a file that looks as it did then isn't read again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wms.data.manifest import DataSet
from wms.errors import from_os_error
from wms.files import write_atomic
from wms_ops.storage.remote import S3Remote

NOTE: Final = ".brought.json"
_WORKERS: Final = 8


@dataclass(frozen=True)
class Brought:
    """Files that were downloaded, that were there, and that the version doesn't hold and were removed."""

    downloaded: int
    there: int
    removed: int


def bring(
    store: S3Remote, version: DataSet, folder: Path, on_progress: Callable[[int, int], None] = lambda _done, _all: None
) -> Brought:
    """Make folder/images and folder/masks hold exactly `version`; repeat it after an error or a kill.

    `on_progress` hears (files done, files wanted). Raises what the store raises, DiskFullError, UnwritableError.
    """
    wanted = {f"{kind}/{name}": md5 for kind, manifest, _ in version for name, md5 in manifest.files.items()}
    known = _read_note(folder / NOTE)
    state = {path: _look(folder / path) for path in wanted}
    right = {path for path, md5 in wanted.items() if state[path] and known.get(path) == [md5, *(state[path] or ())]}
    missing = sorted(wanted.keys() - right)
    removed = _remove_others(folder, wanted.keys())
    with ThreadPoolExecutor(_WORKERS) as pool:
        futures = [pool.submit(store.read_blob, wanted[path], folder / path) for path in missing]
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                future.result()
                on_progress(done, len(missing))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    if missing or removed:
        note = {path: [md5, *(_look(folder / path) or ())] for path, md5 in wanted.items()}
        write_atomic(folder / NOTE, json.dumps(note))
    return Brought(len(missing), len(right), removed)


def _look(path: Path) -> tuple[int, int] | None:
    """Size and time of a file, None if it isn't there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _read_note(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}  # then everything is brought anew
    return known if isinstance(known, dict) else {}


def _remove_others(folder: Path, wanted: Any) -> int:
    removed = 0
    for kind in ("images", "masks"):
        for path in (folder / kind).rglob("*"):
            if not path.is_dir() and path.relative_to(folder).as_posix() not in wanted:
                try:
                    path.unlink()
                except OSError as error:
                    raise from_os_error(error, path) from error
                removed += 1
    return removed
