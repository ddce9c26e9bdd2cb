"""Folders that travel: what Git would keep of one, and what a command made of it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from wms.errors import from_os_error
from wms.files import sha256_file
from wms_ops.errors import CloudError
from wms_ops.git import Git

GIT: Final = ".git"
_NEVER: Final = frozenset({".venv", ".cache", "__pycache__"})
_NOT: Final = (
    *("WMS/data/dataset/images", "WMS/data/dataset/masks", "WMS/data/dataset/.brought.json"),
    *(".dvc/cache", ".dvc/tmp"),
)
RUNS: Final = "runs"
MADE: Final = (RUNS, "WMS/models/candidate", "WMS/models/evaluation", "WMS/data/prepared.json")
"""What commands leave that Git ignores: it goes along, so that another instance can go on with it."""


def outgoing(folder: Path) -> dict[str, str]:
    """Names and SHA-256s of what is sent: what Git has or would add, what commands made, and .git itself.

    Of the finished runs only the newest is sent, and without its checkpoints: nobody goes on with it.
    Without a Git repository that's everything. Raises GitError, UnwritableError.
    """
    if (folder / GIT).exists():
        listed = Git(folder).names("ls-files", "-z", "--cached", "--others", "--exclude-standard")
        needless = _needless(folder)
        made = {name for name in _under(folder, MADE) if not _is_under(name, needless)}
        names = {*listed, *made, *_under(folder, (GIT,))}
    else:
        names = set(_under(folder, ("",)))
    return _hashed(folder, names)


def incoming(folder: Path, known: Mapping[str, str]) -> list[str]:
    """Names of the files under `folder` that aren't as in `known`.

    Git's own and the data set's are left out, and the checkpoints of finished runs, with which nobody goes on.
    """
    spent = _names(folder, _checkpoints(_finished(folder)))
    names = [name for name in _under(folder, ("",)) if PurePosixPath(name).parts[0] != GIT and name not in spent]
    return sorted(name for name, sha256 in _hashed(folder, names).items() if known.get(name) != sha256)


def pack(files: Mapping[str, Path], target: Path) -> None:
    """Write files into one archive, under these names. Raises DiskFullError, UnwritableError."""
    try:
        with tarfile.open(target, "w:gz", compresslevel=1) as archive:
            for name, path in sorted(files.items()):
                archive.add(path, arcname=name, recursive=False)
    except OSError as error:
        raise from_os_error(error, target) from error


def unpack(source: Path, folder: Path, *, keep: Iterable[str] = ()) -> None:
    """Put an archive's files into `folder`, each one whole or not at all; those under `keep` only where none is.

    Raises CloudError for a damaged archive or one that reaches out of the folder, DiskFullError, UnwritableError.
    """
    kept = tuple(keep)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".wms-parcel-", dir=folder) as staging:
            with tarfile.open(source) as archive:
                archive.extractall(staging, filter="data")
            for name in _under(Path(staging), ("",), never=frozenset()):
                target = folder / name
                if not (_is_under(name, kept) and target.exists()):
                    _make_room(folder, target)
                    os.replace(Path(staging, name), target)  # noqa: PTH105 - over what is there
    except (tarfile.TarError, EOFError) as error:
        raise CloudError(f"What was sent can't be unpacked ({error}); run it again.") from error
    except OSError as error:
        raise from_os_error(error, folder) from error


def adopt(source: Path, folder: Path, files: Mapping[str, str]) -> None:
    """Make `folder` what the client sent; what commands made there before stays. Raises as `unpack` does."""
    shutil.rmtree(folder / GIT, ignore_errors=True)
    listing = folder.with_name(f"{folder.name}.files")
    before = listing.read_text(encoding="utf-8").split("\0") if listing.exists() else []
    for name in before:
        if name and name not in files and not _is_under(name, MADE):
            (folder / name).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    listing.write_text("\0".join(files), encoding="utf-8")
    unpack(source, folder, keep=MADE)


def _needless(folder: Path) -> set[str]:
    """The finished training runs but the newest, and of that the checkpoints, the larger part of it."""
    finished = _finished(folder)
    return _names(folder, [*finished[:-1], *_checkpoints(finished[-1:])])


def _finished(folder: Path) -> list[Path]:
    """Folders of finished training runs, oldest first. One that can't be read may have to go on: it isn't finished."""
    finished = []
    for path in sorted((folder / RUNS).glob("run_*/metadata.json")):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if json.loads(path.read_text(encoding="utf-8")).get("finished_at"):
                finished.append(path.parent)
    return finished


def _checkpoints(runs: Iterable[Path]) -> list[Path]:
    return [checkpoint for run in runs for checkpoint in run.glob("checkpoints/*.pt")]


def _names(folder: Path, paths: Iterable[Path]) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in paths}


def _make_room(folder: Path, target: Path) -> None:
    """A folder may have become a file, or the other way round."""
    for parent in reversed(target.parents):
        if folder in parent.parents and (parent.is_symlink() or parent.is_file()):
            parent.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)


def _hashed(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Links and what isn't there any more are left out, as is what never travels."""
    found = {}
    for name in names:
        path = folder / name
        if _travels(name) and path.is_file() and not path.is_symlink():
            try:
                found[name] = sha256_file(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise from_os_error(error, path) from error
    return found


def _travels(name: str) -> bool:
    return not _NEVER.intersection(PurePosixPath(name).parts) and not _is_under(name, _NOT)


def _is_under(name: str, roots: Iterable[str]) -> bool:
    return any(name == root or name.startswith(f"{root}/") for root in roots)


def _under(folder: Path, roots: Iterable[str], never: frozenset[str] = _NEVER) -> Iterator[str]:
    """All files under these parts of a folder, as names with slashes; folders that never travel aren't entered."""
    for root in roots:
        top = folder / root
        if top.is_file():
            yield root
        for where, folders, names in os.walk(top):
            folders[:] = [name for name in folders if name not in never and not name.startswith(".wms-parcel-")]
            yield from (Path(where, name).relative_to(folder).as_posix() for name in names)
