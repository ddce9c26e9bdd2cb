"""The new photos and masks of a data branch come back into the inbox, so that a blocked branch can be corrected.

The order makes a kill safe at any point: all files are brought and checked beside the inbox, then a note is kept, then
each file appears whole, under a name that is free. A second run finds the finished files and does the rest.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from wms.data.manifest import DataSet, stem_of
from wms.errors import from_os_error
from wms.files import exclusive_lock, write_atomic
from wms_ops.base.errors import CredentialsMissingError, DataConflictError, GitError
from wms_ops.base.layout import INBOX, KINDS, inbox
from wms_ops.dataset.fetch import download
from wms_ops.dataset.inbox import InboxFile, export, inbox_files, refuse_unfit
from wms_ops.dataset.losses import common
from wms_ops.dataset.proofs import sources_since
from wms_ops.dataset.publish import base_of, open_store
from wms_ops.dataset.returned import Returned, keep_returned
from wms_ops.dataset.stored import as_stored
from wms_ops.dataset.versions import dvc_config_at, version_at
from wms_ops.git.command import Git
from wms_ops.git.scratch import Scratch, scratch_clone
from wms_ops.storage.codes import is_without_keys

Step = Callable[[str], None]
_Wanted = dict[str, str]
"""Path in the inbox, such as images/meter.jpg -> the MD5 of the stored file."""


@dataclass(frozen=True)
class Comeback:
    """The photos that came back from `branch`: names of pairs, how many files were written and how many were there.

    `replaced` are pairs that the data set has with other content: they need the word that replaces.
    """

    branch: str
    stems: tuple[str, ...]
    replaced: tuple[str, ...]
    written: int
    there: int


def bring_back(git: Git, url: str, branch: str, *, step: Step = lambda _: None) -> Comeback:
    """Write the photos and masks that a data branch of `url` adds or replaces into the inbox of the work tree.

    Nothing is overwritten: a file with the same content is there already, other content raises DataConflictError, and
    then nothing is written. Without keys the files come from this clone's own commits, where it still has them. Raises
    GitError for a branch that isn't there, the store's errors, UnwritableError, DiskFullError.
    """
    shared = Path(git("rev-parse", "--path-format=absolute", "--git-common-dir"))
    with exclusive_lock(shared / "wms" / "take-back.lock"), scratch_clone(git, url, depth=None) as scratch:
        tip = scratch.data_branches.get(branch)
        if tip is None:
            raise GitError(
                f"The remote has no data branch {branch!r}, so nothing was changed; to take photos out of the commits "
                f"of a local branch, name it by `wms data take-back --commits-of {branch}`."
            )
        base = common(scratch.git, base_of(scratch), tip)
        staging = scratch.folder / "back"
        wanted, replaced = _brought(git, scratch, base, tip, staging)
        step("checked")
        missing = _missing(git.folder / INBOX, wanted)
        stems = tuple(sorted({stem_of(path.partition("/")[2]) for path in wanted}))
        if stems:
            keep_returned(git, Returned(branch, tip, frozenset(stems)), scratch.data_branches)
        step("noted")
        for path in missing:
            _place(staging / path, git.folder / INBOX / path)
            step("placed")
        return Comeback(branch, stems, replaced, len(missing), len(wanted) - len(missing))


def _brought(git: Git, scratch: Scratch, base: str, tip: str, staging: Path) -> tuple[_Wanted, tuple[str, ...]]:
    """Return the branch's new files, brought into `staging` unless the inbox has them, and the pairs that replace."""
    if raw := inbox_files(scratch.git, tip):
        known = set(inbox_files(scratch.git, base))
        return _exported(scratch.git, [file for file in raw if file not in known], staging), ()
    store = open_store(dvc_config_at(scratch.git, base), git)
    try:
        before, after = version_at(scratch.git, base, store), version_at(scratch.git, tip, store)
        wanted, replaced = _new(before, after)
        missing = _missing(git.folder / INBOX, wanted)  # refuses before anything is fetched
        download(store, {staging / path: md5 for path, md5 in missing.items()}, top=staging)
    except CredentialsMissingError as error:
        own = _own_copy(git, sources_since(scratch.git, base, tip)) if is_without_keys(error) else None
        if own is None:
            raise
        return _exported(git, own, staging), ()
    return wanted, replaced


def _new(before: DataSet, after: DataSet) -> tuple[_Wanted, tuple[str, ...]]:
    """Return the files of all pairs that `after` adds or changes, and the names of the changed ones."""
    old = before.pairs
    changed = {stem: row for stem, row in after.pairs.items() if old.get(stem) != row}
    wanted = _Wanted()
    for image, image_md5, mask, mask_md5 in changed.values():
        for kind, name, md5 in zip(KINDS, (image, mask), (image_md5, mask_md5), strict=True):
            refuse_unfit("100644", name, f"{inbox(kind)}/{name}")
            wanted[f"{kind}/{name}"] = md5
    return wanted, tuple(sorted(changed.keys() & old.keys()))


def _exported(git: Git, files: list[InboxFile], staging: Path) -> _Wanted:
    return {f"{file.kind}/{file.name}": new.md5 for file, new in export(git, files, staging)}


def _own_copy(git: Git, sources: list[str]) -> list[InboxFile] | None:
    """Return the files of the first inbox that this clone still has whole, by the inbox's Git tree; else None."""
    for tree in sources:
        if git.ok("cat-file", "-e", f"{tree}^{{tree}}"):
            listed = ((path.partition("/"), blob) for _, blob, path in git.files(tree))
            return [
                InboxFile(kind, name, blob) for (kind, _, name), blob in listed if kind in KINDS and name != ".gitkeep"
            ]
    return None


def _missing(folder: Path, wanted: Mapping[str, str]) -> _Wanted:
    """Return what the inbox lacks. Raises DataConflictError for names that are taken, GitError for a linked folder."""
    taken = []
    for kind in KINDS:
        if any(part.is_symlink() for part in (folder / kind, folder, *folder.parents[:2])):
            raise GitError(f"{inbox(kind)} is a symbolic link, so nothing was written: make it a folder.")
    stems = {(kind, stem_of(path.name).casefold()): path.name for kind in KINDS for path in (folder / kind).glob("*")}
    missing = _Wanted()
    for path, md5 in wanted.items():
        kind, _, name = path.partition("/")
        namesake = stems.get((kind, stem_of(name).casefold()))
        if namesake not in (None, name) or (namesake and not _holds(folder / path, md5)):
            taken.append(f"{inbox(kind)}/{namesake}")
        elif not namesake:
            missing[path] = md5
    if taken:
        raise DataConflictError(
            f"{taken[0]!r} (and {len(taken) - 1} more) is there with other content than the branch has, so nothing was "
            "written: move it out of the folder, then run this again."
        )
    return missing


def _holds(path: Path, md5: str) -> bool:
    """Return whether a plain file has this content, itself or as the data set would keep it."""
    if path.is_symlink() or not path.is_file():
        return False
    try:
        content = path.read_bytes()
    except OSError as error:
        raise from_os_error(error, path) from error
    kept = (content, as_stored(path.name, content))
    return md5 in {hashlib.md5(one, usedforsecurity=False).hexdigest() for one in kept}


def _place(source: Path, target: Path) -> None:
    """Make a whole file appear under a free name. Raises DataConflictError for a name that was taken meanwhile."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, target)  # at once whole, and never over another file
    except FileExistsError as error:
        raise DataConflictError(f"{target} has just appeared and was left alone; run this again.") from error
    except OSError:  # no links on this file system, or the clone's .git lies on another
        if os.path.lexists(target):
            raise DataConflictError(f"{target} has just appeared and was left alone; run this again.") from None
        write_atomic(target, source.read_bytes())
