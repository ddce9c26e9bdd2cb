"""The files that a data branch may change: the two pointers, or raw photos in the inbox; no code of it is trusted.

The loop works with main's code and main's recipe, and with keys in its environment. So a branch's other files are
neither run, taken nor ignored in silence: they are refused by name, before any checkout of the branch.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from wms.project import project
from wms.registry.ledger import CURRENT, HISTORY
from wms_ops.base.errors import BranchContentError
from wms_ops.base.layout import ERASED, INBOX, KINDS, METADATA, MODELS, SPLITS, inbox, main_branch, pointer
from wms_ops.git.command import ZERO, Git

POINTERS: Final = tuple(pointer(kind) for kind in KINDS)
LEDGER: Final = (f"{MODELS}/{HISTORY}", f"{MODELS}/{CURRENT}", METADATA)
RECORDS: Final = (SPLITS, *LEDGER)
"""The files that the loop itself writes onto a data branch, starting from main's bytes."""

CARRIED: Final = (*POINTERS, ERASED)
"""The files of a data branch that stay its own when main is joined in."""

_GONE, _FILE, _PROGRAM = "000000", "100644", "100755"
_KINDS: Final = {"120000": "a symbolic link", "160000": "a submodule", _PROGRAM: "a program", "040000": "a folder"}


@dataclass(frozen=True, slots=True)
class FileChange:
    """A path that a branch changes: the branch's mode and blob for the path, as Git writes them."""

    path: str
    mode: str
    blob: str

    @property
    def text(self) -> str:
        """The path, and its kind if that isn't a plain file."""
        if self.mode == _GONE:
            return f"{self.path!r} (removed)"
        kind = _KINDS.get(self.mode)
        return f"{self.path!r} ({kind})" if kind else repr(self.path)


def changes_of(git: Git, main: str, commit: str) -> tuple[FileChange, ...]:
    """Return `commit`'s content that neither `main` nor their merge base holds, sorted by path.

    A path that main has changed since isn't the branch's change: its older content goes nowhere.
    """
    own = set(_differences(git, main, commit))
    found = git.attempt("merge-base", "--all", main, commit)
    for base in found.stdout.decode().split():
        own &= set(_differences(git, base, commit))
    return tuple(sorted(own, key=lambda change: change.path))


def refuse_foreign(git: Git, main: str, commit: str, branch: str) -> None:
    """Raise BranchContentError, with each path's name, if a data branch at `commit` changes more than a branch may.

    The loop's own records may differ: they are written anew from main's. Pointers and raw photos exclude each other,
    since photos become pointers on a branch that the loop makes.
    """
    changes = changes_of(git, main, commit)
    photos = [change for change in changes if _is_photo(change)]
    pointers = [change for change in changes if change.path in POINTERS]
    foreign = [change for change in changes if not (_is_photo(change) or _is_allowed(change))]
    if foreign:
        raise BranchContentError(
            f"{branch} changes {_named(foreign)}. A data branch may change nothing but {' and '.join(POINTERS)}, or "
            f"add photos to {INBOX}, so nothing of it was run or merged. Take the rest out of the branch: "
            f"{_restore([foreign[0].path])}. Code goes to {main_branch()} by itself."
        )
    if photos and pointers:
        raise BranchContentError(
            f"{branch} changes {_named(pointers)} and adds photos ({photos[0].path!r} first). A data branch does one "
            f"of both, so nothing was merged. Restore the pointers: {_restore(POINTERS)}."
        )


def brings_data(git: Git, main: str, commit: str) -> bool:
    """Return whether a commit has other data or records than `main`, which the pipeline alone may judge."""
    changes = changes_of(git, main, commit)
    return any(_is_photo(change) or change.path in (*CARRIED, *RECORDS) for change in changes)


def rests_on(git: Git, main: str, commit: str) -> bool:
    """Return whether a commit is main's files with other pointers only, and has `main` in its history."""
    return git.ok("merge-base", "--is-ancestor", main, commit) and all(
        change.path in CARRIED for change in _differences(git, main, commit)
    )


def only_joined(git: Git, main: str, commit: str, tip: str) -> bool:
    """Return whether `tip` is `commit` with nothing on top but joins of `main` and the loop's own records.

    The pipeline joins main into each branch that waits, and a run records its splits; no workflow starts by that, so
    the run of `commit` goes on with the branch as it is.
    """
    while tip != commit:
        ours, *others = git.attempt("rev-list", "--parents", "--no-walk", tip).stdout.decode().split()[1:] or [""]
        joined = len(others) == 1 and git.ok("merge-base", "--is-ancestor", others[0], main)
        if not joined and not (ours and adds_records_only(git, ours, tip)):
            return False
        tip = ours
    return True


def adds_records_only(git: Git, before: str, commit: str) -> bool:
    """Return whether `commit` is a single commit on top of `before` that changes only the loop's own records."""
    parents = git.attempt("rev-list", "--parents", "--no-walk", commit).stdout.decode().split()
    return parents == [commit, before] and all(
        change.path in RECORDS and _is_allowed(change) for change in _differences(git, before, commit)
    )


def _differences(git: Git, before: str, after: str) -> Iterator[FileChange]:
    items = iter(list(git.names("diff-tree", "-r", "-z", "--raw", "--no-abbrev", "--no-renames", before, after)))
    for facts, path in zip(items, items, strict=True):
        _, mode, _, blob, _ = facts.split()
        yield FileChange(path, mode, ZERO if mode == _GONE else blob)


def _is_allowed(change: FileChange) -> bool:
    if change.path in CARRIED:
        return change.mode == _FILE
    return change.path in RECORDS and change.mode in (_FILE, _GONE)


def _is_photo(change: FileChange) -> bool:
    """Return whether a path is a file added to the inbox; cameras' cards mark every file as a program."""
    folder, _, name = change.path.rpartition("/")
    return folder in map(inbox, KINDS) and name != ".gitkeep" and change.mode in (_FILE, _PROGRAM)


def _restore(paths: Sequence[str]) -> str:
    source = f"{project().remote}/{main_branch()}"
    return f"git restore --source={source} --staged --worktree -- {shlex.join(paths)}, then commit and push"


def _named(changes: Sequence[FileChange], most: int = 10) -> str:
    more = f" and {len(changes) - most} more" if len(changes) > most else ""
    return ", ".join(change.text for change in changes[:most]) + more
