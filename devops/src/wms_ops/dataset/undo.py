"""The undoing of one push: a data branch without that push's photos, on which all later photos stay."""

from __future__ import annotations

from dataclasses import dataclass

from wms.data.manifest import DataSet
from wms.text import counted
from wms_ops.base.errors import DataConflictError, GitError
from wms_ops.base.layout import main_branch
from wms_ops.dataset.branches import store_manifests
from wms_ops.dataset.erased import read_erasures
from wms_ops.dataset.history import Push, commits_of, find_push
from wms_ops.dataset.losses import REMOVED, REPLACED
from wms_ops.dataset.plan import join, losses, plan_removal, refuse_conflicts
from wms_ops.dataset.publish import open_store, push_new_branch
from wms_ops.dataset.versions import commit_version, dvc_config_at, pointers_at, version_at
from wms_ops.git.command import Git
from wms_ops.git.scratch import Scratch, scratch_clone
from wms_ops.storage.remote import S3Remote

REVERTS = "Data-Reverts"
"""The trailer of a commit that takes a push back: main's commit of that push."""


@dataclass(frozen=True)
class Reverted:
    """The branch that takes `push` back, the photos before and after, and whether the branch was there already."""

    push: Push
    branch: str
    removed: int
    former: int
    restored: int
    total: int
    erased: tuple[str, ...] = ()
    repeated: bool = False

    @property
    def text(self) -> str:
        """The result as a sentence."""
        parts = {"removed": self.removed, "back to their former content": self.former, "restored": self.restored}
        counts = ", ".join(f"{count} {what}" for what, count in parts.items() if count)
        state = "is there already" if self.repeated else "is pushed"
        return (
            f"Branch {self.branch} {state}: it takes back {self.push.by}: {counts}; "
            f"{counted(self.total, 'photo')} in all."
            + (f" Erased photos stay out: {', '.join(self.erased)}." if self.erased else "")
        )


def revert(git: Git, url: str, what: str) -> Reverted:
    """Publish main's data set without the effect of one push: `what` is a pull request, a data branch or a commit.

    New photos leave, replaced ones get their former content, removed ones come back; photos of later pushes stay.
    Raises DataConflictError for an unknown push, for photos that a later push changed again, and for a push that is
    taken back already; GitError, and the store's errors. Erased photos don't come back. Safe to repeat.
    """
    with scratch_clone(git, url, depth=None) as scratch:
        main = scratch.base
        if main is None:
            raise GitError(f"There is no branch {main_branch()} in the remote repository.")
        push = find_push(scratch.git, main, what)
        store = open_store(dvc_config_at(scratch.git, main), git)
        store.check_access()
        parent = scratch.git.commits(f"{push.commit}^")[0]
        former = version_at(scratch.git, parent, store) if parent else DataSet()
        pushed, current = (version_at(scratch.git, commit, store) for commit in (push.commit, main))
        if later := _changed_later(former, pushed, current):
            names = ", ".join(later[:3]) + (f" and {len(later) - 3} more" if len(later) > 3 else "")
            raise DataConflictError(
                f"{names} changed since, by {_changers(scratch.git, main, store, push, later)}, so nothing was taken "
                "back: revert that first, or remove or replace these photos by name."
            )
        result, conflicts = join(pushed, current, former)
        refuse_conflicts(conflicts)
        erased = _erased(store, current, result)
        result = plan_removal(result, erased) if erased else result
        gone, changed = losses(current, result)
        restored = len(result.pairs.keys() - current.pairs.keys())
        if result.pairs == current.pairs:
            why = f"{', '.join(erased[:3])} was erased" if erased else "its photos were taken back before"
            raise DataConflictError(f"Nothing is left of {push.by}: {why}.")
        counts = (len(gone), len(changed), restored, len(result.pairs), erased)
        if there := _there(scratch, result):
            return Reverted(push, there, *counts, repeated=True)
        store_manifests(store, result)
        commit = commit_version(scratch.git, result, [main], _message(push, len(gone), len(changed), restored))
        return Reverted(push, push_new_branch(scratch, commit, suffix="-revert"), *counts)


def _erased(store: S3Remote, current: DataSet, result: DataSet) -> tuple[str, ...]:
    """Return the photos that `result` would bring back although they, or the masks they shared, were erased."""
    gone = {md5 for one in read_erasures(store) for md5 in one.gone}
    back = {stem: pair for stem, pair in result.pairs.items() if stem not in current.pairs}
    # A mask may have been stored again since, with another photo.
    lost = store.missing({pair[3] for pair in back.values()} & gone)
    return tuple(sorted(stem for stem, pair in back.items() if pair[1] in gone or pair[3] in lost))


def _message(push: Push, gone: int, changed: int, restored: int) -> str:
    number = f"pull request {push.number}" if push.number else f"commit {push.commit[:10]}"
    text = f"Revert data: {number}\n\n{gone} removed, {changed} replaced, {restored} restored: {push.title}\n\n"
    text += f"{REMOVED}: {gone}\n" if gone else ""
    text += f"{REPLACED}: {changed}\n" if changed else ""
    return f"{text}{REVERTS}: {push.commit}\n"


def _changed_later(former: DataSet, pushed: DataSet, current: DataSet) -> list[str]:
    """Return the photos of a push that are neither as the push left them nor as they were before."""
    before, then, now = former.pairs, pushed.pairs, current.pairs
    touched = (stem for stem in {*before, *then} if before.get(stem) != then.get(stem))
    return sorted(stem for stem in touched if now.get(stem) not in (before.get(stem), then.get(stem)))


def _changers(git: Git, main: str, store: S3Remote, push: Push, stems: list[str]) -> str:
    """Return the pushes after `push` that changed these photos, in words."""
    found = list[str]()
    for one in commits_of(git, main):
        if one.commit == push.commit:
            break
        at, parent = (version_at(git, commit, store).pairs for commit in (one.commit, f"{one.commit}^"))
        if any(at.get(stem) != parent.get(stem) for stem in stems):
            found.append(one.by)
    return "; ".join(found) or "a later commit"


def _there(scratch: Scratch, result: DataSet) -> str | None:
    """Return the data branch that holds this very version already."""
    oids = {kind: manifest.oid for kind, manifest, _ in result}
    for branch, tip in scratch.data_branches.items():
        if {kind: one.oid for kind, one in pointers_at(scratch.git, tip).items()} == oids:
            return branch
    return None
