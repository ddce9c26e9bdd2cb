"""The joining of data branches by their manifests, without any photo; and the removal of photos, on a new branch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from wms.data.manifest import DataSet, pointer_text
from wms.errors import DataQualityError, ManifestError, WmsError
from wms.files import write_atomic
from wms.text import counted
from wms_ops.base.errors import (
    BranchContentError,
    DamagedBlobError,
    DataConflictError,
    GitError,
    MissingBlobError,
    ShrinkError,
)
from wms_ops.base.layout import ERASED, SPLITS, main_branch, pointer
from wms_ops.dataset.inbox import inbox_files
from wms_ops.dataset.losses import REMOVED, says_removal
from wms_ops.dataset.plan import join, plan_removal, refuse_conflicts
from wms_ops.dataset.publish import open_store, push_new_branch, verify
from wms_ops.dataset.review import refuse_foreign, rests_on
from wms_ops.dataset.split_records import join_splits
from wms_ops.dataset.versions import commit_version, dvc_config_at, file_at, pointers_at, version_at
from wms_ops.git.command import Git
from wms_ops.git.scratch import Scratch, scratch_clone
from wms_ops.git.write import push
from wms_ops.storage.remote import S3Remote

_ITS_OWN: Final = (
    *(BranchContentError, DataConflictError, DataQualityError, GitError, ManifestError, MissingBlobError),
    *(DamagedBlobError, ShrinkError),
)
"""The errors of a single branch; other branches are joined all the same."""


@dataclass(frozen=True)
class Joined:
    """A data branch that holds main's photos, too: its commit, the photos before and after, and the moved ones.

    `moved` counts photos that an earlier run recorded in another split than main's photos of the same scene.
    """

    branch: str
    commit: str
    before: int
    after: int
    changed: bool
    moved: int = 0


def join_into(git: Git, url: str, branch: str) -> Joined:
    """Merge main into a data branch of the remote by the union of their manifests, and push the branch.

    Conflicts between .dvc files don't arise; all other files become those of main, the records of an earlier run of the
    loop, too. Safe to repeat: a branch that holds all of main and no other file of its own stays as it is. Raises
    BranchContentError for a branch that changes more than data, DataConflictError, GitError, and the store's errors.
    """
    with scratch_clone(git, url, depth=None) as scratch:
        here = scratch.git
        ours, theirs = _tip(here, main_branch()), _tip(here, branch)
        refuse_foreign(here, ours, theirs, branch)
        store = open_store(dvc_config_at(here, ours), git)
        base = here("merge-base", ours, theirs) if here.ok("merge-base", ours, theirs) else None
        mine = version_at(here, ours, store)
        result = version_at(here, theirs, store)
        # Nothing to push: the branch is main's files with pointers of its own already.
        if rests_on(here, ours, theirs):
            return Joined(branch, theirs, len(mine.images.files), len(result.images.files), changed=False)
        if base != ours:
            result = _join(store, version_at(here, base, store) if base else DataSet(), mine, result)
        message = f"Join {main_branch()} and {branch}\n\n{counted(len(result.images.files), 'photo')}\n"
        parents = [theirs] if base == ours else [theirs, ours]
        stones = [line for tip in (ours, theirs) for line in (file_at(here, tip, ERASED) or "").splitlines()]
        more = {ERASED: "".join(f"{line}\n" for line in dict.fromkeys(stones))} if stones else None
        commit = commit_version(here, result, parents, message, tree=ours, more=more)
        push(here, url, branch, commit, theirs)  # which refuses a branch that has moved since it was read
        # The branch's record is gone with the commit; the next run decides by main's, as this count does.
        moved = join_splits(here, ours, theirs)[1]
        return Joined(branch, commit, len(mine.images.files), len(result.images.files), changed=True, moved=moved)


def join_all(
    git: Git, url: str, leave: Callable[[str], bool] = lambda _: False
) -> Iterator[Joined | tuple[str, WmsError]]:
    """Bring main's photos into every data branch that holds pointers of its own and no raw photos.

    A branch that can't be joined is yielded with its error, and the others go on; `leave` names those to be left.
    """
    with scratch_clone(git, url, depth=None) as scratch:
        waiting = list[str]()
        for name, tip in scratch.data_branches.items():
            try:
                if _waits(scratch, tip, git):
                    waiting.append(name)
            except _ITS_OWN as error:
                yield name, error
    for name in waiting:
        if leave(name):
            continue
        try:
            yield join_into(git, url, name)
        except _ITS_OWN as error:
            yield name, error


def _waits(scratch: Scratch, tip: str, git: Git) -> bool:
    """Return whether a data branch lacks a commit of main's, and adds photos that main lacks or removes some.

    A squashed branch does neither. One that has all of main's commits is left as it is: its newest commit is the one
    that a check or a person has judged.
    """
    base = scratch.base
    if (
        base is None
        or scratch.git.ok("merge-base", "--is-ancestor", base, tip)
        or not pointers_at(scratch.git, tip)
        or inbox_files(scratch.git, tip)
    ):
        return False
    if says_removal(scratch.git, base, tip):
        return True
    store = open_store(dvc_config_at(scratch.git, base), git)
    theirs = version_at(scratch.git, tip, store).pairs
    return not theirs.items() <= version_at(scratch.git, base, store).pairs.items()


def resolve_pointers(git: Git) -> tuple[int, int, int]:
    """Write the union into the two .dvc files of a stopped merge, rebase or cherry-pick, and stage them.

    The split record becomes that of the side that main holds, or ours, with the other side's new photos; these share
    the split of a photo that they are alike to. Returns the number of photos on our side and in the union, and how many
    photos changed their split so. Raises DataConflictError, SplitError, and GitError without a stopped operation.
    """
    theirs = next((name for name in ("MERGE_HEAD", "REBASE_HEAD", "CHERRY_PICK_HEAD") if _is_there(git, name)), None)
    if theirs is None:
        raise GitError(
            "Git hasn't stopped a merge, rebase or cherry-pick here; start one first, e.g. `git merge main`."
        )
    ancestor = git("merge-base", "HEAD", theirs) if theirs == "MERGE_HEAD" else git("rev-parse", f"{theirs}^")
    store = open_store(dvc_config_at(git, "HEAD"), git)
    ours = version_at(git, "HEAD", store)
    result = _join(store, version_at(git, ancestor, store), ours, version_at(git, theirs, store))
    for kind, manifest, size in result:
        write_atomic(git.folder / pointer(kind), pointer_text(manifest, size, kind))
        git("add", "--", pointer(kind))
    sides = ("HEAD", theirs)
    text, moved = join_splits(git, *(reversed(sides) if _is_mains(git, theirs) else sides))
    if text is not None:
        write_atomic(git.folder / SPLITS, text)
        git("add", "--", SPLITS)
    return len(ours.images.files), len(result.images.files), moved


def _is_mains(git: Git, commit: str) -> bool:
    """Return whether main, here or as last fetched, holds a commit."""
    names = (f"refs/remotes/origin/{main_branch()}", f"refs/heads/{main_branch()}")
    return any(_is_there(git, name) and git.ok("merge-base", "--is-ancestor", commit, name) for name in names)


def remove(git: Git, url: str, stems: Sequence[str]) -> tuple[str, int, int]:
    """Publish a version without these photos on a branch of its own; the files stay in the remote.

    Returns the branch and the photos before and after. Raises DataConflictError for an unknown name.
    """
    with scratch_clone(git, url) as scratch:
        base = scratch.base
        if base is None:
            raise GitError(f"There is no branch {main_branch()} in the remote repository.")
        store = open_store(dvc_config_at(scratch.git, base), git)
        store.check_access()
        before = version_at(scratch.git, base, store)
        after = plan_removal(before, stems)
        store_manifests(store, after)
        names = "\n".join(sorted(set(stems)))
        message = f"Remove data: {counted(len(set(stems)), 'photo')}\n\n{names}\n\n{REMOVED}: {len(set(stems))}\n"
        commit = commit_version(scratch.git, after, [base], message)
        branch = push_new_branch(scratch, commit, suffix="-remove")
        return branch, len(before.images.files), len(after.images.files)


def _join(store: S3Remote, ancestor: DataSet, ours: DataSet, theirs: DataSet) -> DataSet:
    result, conflicts = join(ancestor, ours, theirs)
    refuse_conflicts(conflicts)
    store_manifests(store, result)
    return result


def store_manifests(store: S3Remote, version: DataSet) -> None:
    """Bring a version's manifests to the store, which must hold all of its files. Raises MissingBlobError."""
    store.upload({manifest.oid: manifest.content for _, manifest, _ in version})
    verify(store, version)


def _tip(git: Git, branch: str) -> str:
    name = f"refs/there/{branch}"
    if not _is_there(git, name):
        raise GitError(f"There is no branch {branch!r} in the remote repository; `git ls-remote` lists those that are.")
    return git("rev-parse", name)


def _is_there(git: Git, name: str) -> bool:
    return git.ok("rev-parse", "--verify", "--quiet", name)
