"""The download of a data set's version into a folder: only missing files, each verified by its MD5.

The result is that of `dvc pull`, without DVC's bookkeeping over unchanged files. A note beside the files keeps each
file's MD5, size and time: a file with the same size and time isn't read again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wms.data.manifest import DataSet
from wms.data.qa.names import shown
from wms.errors import UsageError
from wms.files import parse_json, write_atomic
from wms.json_text import to_json
from wms.links import refuse_links, remove_files
from wms.regular import read_regular
from wms_ops.base.errors import MissingBlobError
from wms_ops.base.layout import KINDS
from wms_ops.dataset.erased import explain_gap
from wms_ops.dataset.stored import md5_of
from wms_ops.storage.remote import S3Remote

NOTE: Final = ".brought.json"
_WORKERS: Final = 8


@dataclass(frozen=True)
class Brought:
    """The number of files downloaded, kept, and removed because the version doesn't hold them."""

    downloaded: int
    there: int
    removed: int


def bring(
    store: S3Remote,
    version: DataSet,
    folder: Path,
    on_progress: Callable[[int, int], None] = lambda _done, _all: None,
    *,
    top: Path | None = None,
) -> Brought:
    """Make folder/images and folder/masks hold exactly `version`; repeat after an error or a kill.

    `on_progress` gets (files done, files wanted). A symbolic link below `top` (default: `folder`) is never followed.
    Raises the store's errors, DiskFullError, UnwritableError, the last also for such a link, before anything changes.
    """
    top = top or folder
    for kind in KINDS:
        refuse_links(folder / kind, top)
    wanted = {f"{kind}/{name}": md5 for kind, manifest, _ in version for name, md5 in manifest.files.items()}
    known = _read_note(folder / NOTE)
    state = {path: _look(folder / path) for path in wanted}
    right = {path for path, md5 in wanted.items() if state[path] and known.get(path) == [md5, *(state[path] or ())]}
    missing = sorted(wanted.keys() - right)

    def others(kind: str) -> Callable[[str], bool]:
        return lambda name: f"{kind}/{name}" not in wanted

    removed = sum(remove_files(folder / kind, top, others(kind)) for kind in KINDS)
    download(store, {folder / path: wanted[path] for path in missing}, on_progress, top=top)
    if missing or removed:
        note = {path: [md5, *(_look(folder / path) or ())] for path, md5 in wanted.items()}
        write_atomic(folder / NOTE, to_json(note))
    return Brought(len(missing), len(right), removed)


def refuse_foreign(folder: Path, version: DataSet) -> None:
    """Raise UsageError for a file that `bring` would delete from a folder, or replace, but never brought there.

    Raises OSError for a file that can't be read.
    """
    known = _read_note(folder / NOTE)
    for kind, manifest, _ in version:
        for path in _files(folder / kind):
            name = path.relative_to(folder).as_posix()
            md5 = manifest.files.get(name.partition("/")[2])
            if name not in known and (md5 is None or md5 != md5_of(read_regular(path))):
                raise UsageError(
                    f"{shown(str(path))} was never fetched, and fetching would delete or replace it, so nothing was "
                    "changed: move it away, or name an empty folder by --folder."
                )


def download(
    store: S3Remote,
    files: Mapping[Path, str],
    on_progress: Callable[[int, int], None] = lambda _done, _all: None,
    *,
    top: Path,
) -> None:
    """Write each file (path -> MD5), whole and verified or not at all. Raises as `bring` does."""

    def write(md5: str, path: Path) -> None:
        refuse_links(path.parent, top)  # once more: the download of a large data set takes its time
        store.read_blob(md5, path)

    with ThreadPoolExecutor(_WORKERS) as pool:
        futures = [pool.submit(write, md5, path) for path, md5 in files.items()]
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                try:
                    future.result()
                except MissingBlobError as error:
                    raise MissingBlobError(explain_gap(store, store.missing(files.values())) or str(error)) from error
                on_progress(done, len(files))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _look(path: Path) -> tuple[int, int] | None:
    """Return size in bytes and time in ns of a file, None for a missing file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _read_note(path: Path) -> dict[str, Any]:
    try:
        known = parse_json(read_regular(path))
    except (OSError, ValueError):
        return {}  # without a note all files are downloaded
    return known if isinstance(known, dict) else {}


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if not path.is_dir()]
