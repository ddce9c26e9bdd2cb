"""Content hashes of files, remembered by size and modification time so that unchanged files aren't read again."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from wms.errors import DataNotFoundError
from wms.files import parse_json, sha256_file, write_atomic
from wms.json_text import to_json
from wms.regular import read_regular

Stamp = tuple[int, int, str]  # bytes, modification time in ns, sha256


def hash_files(paths: Iterable[Path], memory: Path) -> dict[Path, str]:
    """Sha256 (64 hex digits) of each file; `memory` is a JSON file of earlier results and may be absent.

    Raises DataNotFoundError for a file that can't be read, DiskFullError or UnwritableError for `memory`.
    """
    known = _read(memory)
    wanted = list(paths)
    with ThreadPoolExecutor() as pool:
        stamps = dict(zip(wanted, pool.map(lambda path: _stamp(path, known), wanted), strict=True))
    fresh = {str(path.absolute()): stamp for path, stamp in stamps.items()}
    if any(known.get(key) != stamp for key, stamp in fresh.items()):
        write_atomic(memory, to_json({**known, **fresh}))
    return {path: stamp[2] for path, stamp in stamps.items()}


def _stamp(path: Path, known: dict[str, Stamp]) -> Stamp:
    try:
        status = path.stat()
        before = known.get(str(path.absolute()))
        if before is not None and before[:2] == (status.st_size, status.st_mtime_ns):
            return before
        return status.st_size, status.st_mtime_ns, sha256_file(path)
    except OSError as error:
        raise DataNotFoundError(f"Can't read {path}: {error.strerror}.") from error


def _read(memory: Path) -> dict[str, Stamp]:
    try:
        raw = parse_json(read_regular(memory))
        return {str(key): (int(size), int(time), str(sha)) for key, (size, time, sha) in raw.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # an unreadable memory costs only time
