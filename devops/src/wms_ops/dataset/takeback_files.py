"""The index and the files of photos that leave a branch; a note comes first, so that a killed run can be finished."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wms.errors import from_os_error
from wms.files import parse_json, write_atomic
from wms.json_text import to_json
from wms.links import remove_file
from wms.regular import read_regular
from wms_ops.base.layout import KINDS, inbox
from wms_ops.git.command import Git

_NOTE = "wms-take-back.json"
Going = dict[str, tuple[str, str]]
"""The files that leave the work tree: path -> (Git object, MD5), all of them in the store."""


def sort_out(git: Git, photos: Mapping[str, tuple[str, str]], sums: Mapping[str, str]) -> tuple[Going, list[str]]:
    """Return the photos that are staged as committed, and so may go, and the names of those changed since.

    `photos` are those of the commit (path -> mode and Git object), `sums` their MD5s.
    """
    staged = _index(git)
    going, changed = {}, []
    for path, (_, blob) in photos.items():
        if staged.get(path) == blob:
            going[path] = (blob, sums[path])
        file = git.folder / path
        if staged.get(path) != blob or (file.exists() and not _is(file, sums[path], git.folder)):
            changed.append(path)
    return going, changed


def note(git: Git, ref: str, new: str, going: Going) -> None:
    """Write a note of the files that go once `ref` is at `new`. Raises UnwritableError, DiskFullError."""
    write_atomic(_file(git), to_json({"branch": ref, "new": new, "paths": going}))


def noted(git: Git, ref: str) -> bool:
    """Return whether a run that moved this branch was killed before its end."""
    found = _read(git)
    # A note counts only once the branch has moved: a run killed before the move changed nothing.
    return found.get("branch") == ref and git.ok("merge-base", "--is-ancestor", str(found.get("new")), ref)


def finish(git: Git, ref: str) -> None:
    """Take the noted files out of the index, then out of the work tree; files changed since stay as they are."""
    staged = _index(git)
    tracked = {path for _, _, path in git.files(ref, *map(inbox, KINDS))}
    going: Going = {path: about for path, about in _read(git)["paths"].items() if path not in tracked}
    leaving = [path for path, (blob, _) in going.items() if staged.get(path) == blob]
    if leaving:
        data = b"".join(f"{path}\0".encode("utf-8", "surrogateescape") for path in leaving)
        git("update-index", "--force-remove", "-z", "--stdin", data=data)
    for path, (blob, md5) in going.items():
        file = git.folder / path
        if staged.get(path, blob) == blob and _is(file, md5, git.folder):
            remove_file(file, git.folder)


def forget(git: Git) -> None:
    """Remove the note at the end of the work."""
    _file(git).unlink(missing_ok=True)


def _file(git: Git) -> Path:
    return Path(git("rev-parse", "--path-format=absolute", "--git-path", _NOTE))


def _read(git: Git) -> dict[str, Any]:
    try:
        found = parse_json(read_regular(_file(git)))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _index(git: Git) -> dict[str, str]:
    """Return the staged inbox: path -> Git object."""
    found = {}
    for entry in git.names("ls-files", "--stage", "-z", "--", *map(inbox, KINDS)):
        about, path = entry.split("\t", 1)
        found[path] = about.split()[1]
    return found


def _is(path: Path, md5: str, top: Path) -> bool:
    """Return whether `path` is a plain file, reached by no link, with this content."""
    if path.is_symlink() or not path.is_file() or any(folder.is_symlink() for folder in path.parents if folder > top):
        return False
    try:
        return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == md5
    except OSError as error:
        raise from_os_error(error, path) from error
