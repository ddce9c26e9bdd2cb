"""The files that travel between a folder and its copy on an instance, in both directions.

The instance runs others' code, and others may write to the bucket. So only data comes back, under names and of kinds
that this project reads as data: nothing that Python imports, Git runs, or DVC takes for a pipeline.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from wms.errors import from_os_error
from wms.files import parse_json, sha256_file
from wms.names import reason_against
from wms.regular import read_regular
from wms_ops.base.errors import CloudError, UnsafeFileError
from wms_ops.targets.host.archive import STAGING, Rules, is_plain, put, staged
from wms_ops.targets.host.commit import lay_commit, names_in_git, remove_repository

# The data set: the instance fetches it from the store itself.
_NOT: Final = ("WMS/data/dataset/images", "WMS/data/dataset/masks", "WMS/data/dataset/.brought.json")
RUNS: Final = "runs"
PREPARED: Final = "WMS/data/prepared.json"
MADE: Final = (RUNS, "WMS/models/candidate", "WMS/models/evaluation", PREPARED)
"""Outputs of commands that Git ignores. They travel along, so that another instance can continue a run."""

_FILES: Final = (PREPARED, "WMS/data/splits.jsonl")
_FOLDERS: Final = tuple(name for name in MADE if name not in _FILES)
_KINDS: Final = frozenset({".html", ".json", ".jsonl", ".log", ".onnx", ".pt", ".pth", ".txt", ".csv", ".jpg", ".png"})
_SENT: Final = "The files of this job"
_LISTED: Final = "The list of this job's files"
_AGAIN: Final = "Look at who writes to the bucket, then run it again."


def outgoing(folder: Path) -> dict[str, str]:
    """Names and SHA-256s of the files to send: Git's files, and outputs of commands; no link and no other ignored file.

    A file that Git doesn't know stays here, for it may be an .env or a key. Of the finished runs only the newest is
    sent, and without checkpoints, which no command needs again. Raises GitError, UnwritableError.
    """
    listed = [name for name in names_in_git(folder) if not _is_under(name, _NOT)]
    needless = _needless(folder)
    made = [name for name in _under(folder, MADE) if returns(name) and name not in needless]
    return _hashed(folder, {*listed, *made})


def incoming(folder: Path, known: Mapping[str, str]) -> list[str]:
    """Names of the files under `folder` that may come back and differ from those in `known`.

    The checkpoints of finished runs are left out: no command needs them again.
    """
    spent = _names(folder, _checkpoints(_finished(folder)))
    names = [name for name in _under(folder, (*_FOLDERS, *_FILES)) if returns(name) and name not in spent]
    return sorted(name for name, sha256 in _hashed(folder, names).items() if known.get(name) != sha256)


def returns(name: str) -> bool:
    """Whether a job may bring back a file of this name.

    >>> returns("runs/run_20261125/metadata.json"), returns("runs/run_20261125/sitecustomize.py")
    (True, False)
    """
    path = PurePosixPath(name)
    is_data = path.suffix in _KINDS and not any(part.startswith(".") for part in path.parts)
    is_in_place = name in _FILES or any(name.startswith(f"{folder}/") for folder in _FOLDERS)
    return is_in_place and is_data and reason_against(name) is None


def unpack(source: Path, folder: Path, *, title: str = "The job's result", advice: str = _AGAIN) -> None:
    """Put a job's result into the client's folder: all files, or none if one member is forbidden.

    Raises UnsafeFileError for such a member, CloudError for a damaged archive, DiskFullError, UnwritableError.
    """
    rules = Rules(title, advice, lambda name: None if returns(name) else "isn't among what a job may bring back")
    with staged(source, folder, rules) as files:
        put(files, folder, rules)


def adopt(
    source: Path, folder: Path, files: Mapping[str, str], *, commit: str | None = None, pack: Path | None = None
) -> None:
    """Make `folder` equal to the client's; earlier outputs of commands stay.

    `files` are the names and SHA-256s that the request announced; `commit` is in `pack`. Raises as `unpack` does, and
    CloudError for files that differ from the announced ones, GitError for a damaged commit.
    """
    unknown = "wasn't announced"
    rules = Rules(_SENT, _AGAIN, lambda name: None if name in files else unknown, programs=True, replaces=True)
    for name in files:
        if reason := reason_against(name):
            raise UnsafeFileError(f"{_LISTED} holds {name[:200]!r}, which {reason}; nothing was written. {_AGAIN}")
    with staged(source, folder, rules) as received:
        if wrong := [name for name in files if name not in received or sha256_file(received[name]) != files[name]]:
            raise CloudError(f"{_SENT} aren't what was sent, as {wrong[0]!r}; run it again.")
        try:
            remove_repository(folder)
            _remove_others(folder, files)  # else a file that the client has deleted would still be imported
        except OSError as error:
            raise from_os_error(error, folder) from error
        kept = {name for name in received if _is_under(name, MADE) and (folder / name).exists()}
        put({name: path for name, path in received.items() if name not in kept}, folder, rules)
    if commit is not None and pack is not None:
        lay_commit(folder, commit, pack)


def _remove_others(folder: Path, files: Mapping[str, str]) -> None:
    """Remove files that an earlier request sent and this request doesn't."""
    listing = folder.with_name(f"{folder.name}.files")
    before = listing.read_text(encoding="utf-8").split("\0") if listing.exists() else []
    for name in before:
        is_ours = reason_against(name) is None and is_plain(folder, name)  # commands may write the listing, too
        if is_ours and name not in files and not _is_under(name, MADE):
            (folder / name).unlink()
    listing.write_text("\0".join(files), encoding="utf-8", newline="\n")


def _needless(folder: Path) -> set[str]:
    """The files of all finished training runs but the newest, and the checkpoints, the larger part, of the newest."""
    finished = _finished(folder)
    older = {name for run in finished[:-1] for name in _under(folder, (run.relative_to(folder).as_posix(),))}
    return older | _names(folder, _checkpoints(finished[-1:]))


def _finished(folder: Path) -> list[Path]:
    """Folders of finished training runs, the one that ended last at the end.

    A run with unreadable metadata counts as unfinished. The chosen one of several attempts ends after the others.
    """
    finished = []
    for path in sorted((folder / RUNS).glob("run_*/metadata.json")):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if ended := parse_json(read_regular(path)).get("finished_at"):
                finished.append((str(ended), path.parent))
    return [folder for _, folder in sorted(finished)]


def _checkpoints(runs: Iterable[Path]) -> list[Path]:
    return [checkpoint for run in runs for checkpoint in run.glob("checkpoints/*.pt")]


def _names(folder: Path, paths: Iterable[Path]) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in paths}


def _hashed(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """SHA-256s by name, without links, files behind links, and files that are gone."""
    found = {}
    for name in names:
        path = folder / name
        if is_plain(folder, name):
            try:
                found[name] = sha256_file(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise from_os_error(error, path) from error
    return found


def _is_under(name: str, roots: Iterable[str]) -> bool:
    return any(name == root or name.startswith(f"{root}/") for root in roots)


def _under(folder: Path, roots: Iterable[str]) -> Iterator[str]:
    """All files under these parts of a folder, as names with slashes."""
    for root in roots:
        top = folder / root
        if top.is_symlink():
            continue
        if top.is_file():
            yield root
        for where, folders, names in os.walk(top):
            folders[:] = [name for name in folders if not name.startswith(STAGING)]
            yield from (Path(where, name).relative_to(folder).as_posix() for name in names)
