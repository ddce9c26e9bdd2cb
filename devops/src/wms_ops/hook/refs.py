"""What a push carries: read from the lines that git hands to a pre-push hook, and from the commits themselves.

Only the standard library is imported here: a push without photos must not wait for more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wms_ops.dataset.layout import DATA_BRANCHES, DATA_SET, KINDS, MAIN, inbox, pointer
from wms_ops.errors import GitError, PushRefusedError, ShrinkError
from wms_ops.git import ZERO, Git

_BRANCH = "refs/heads/"


@dataclass(frozen=True, slots=True)
class PushedRef:
    """One line of a pre-push hook's input: names and commits here and there."""

    local_name: str
    local_commit: str
    remote_name: str
    remote_commit: str

    @property
    def deletes(self) -> bool:
        """Whether the ref goes away over there."""
        return set(self.local_commit) == {"0"}

    @property
    def to_main(self) -> bool:
        """Whether this is the branch that photos must not reach."""
        return self.remote_name == _BRANCH + MAIN

    @property
    def takes_photos(self) -> bool:
        """Whether photos may go there: branches that a workflow merges."""
        return self.remote_name.startswith(_BRANCH + DATA_BRANCHES)


def parse(lines: Iterable[str]) -> tuple[PushedRef, ...]:
    """The refs of a push. Raises GitError for a line that git wouldn't write."""
    refs = []
    for line in lines:
        parts = line.split()
        if len(parts) != len(PushedRef.__slots__):
            raise GitError(f"The pre-push hook was given {line!r}, which git doesn't write; run it by `git push`.")
        refs.append(PushedRef(*parts))
    return tuple(refs)


def photos_in(git: Git, ref: PushedRef, remote: str) -> tuple[str, ...]:
    """Paths of the inbox that the commits of a push add or change, also those that a later commit removes.

    What main over there has already is no news. What only another branch over there has is: photos that wait on
    a data branch may not reach main by a second push.
    """
    if ref.deletes or ref.takes_photos:
        return ()
    tip, *known = git.commits(ref.local_commit, ref.remote_commit, f"refs/remotes/{remote}/{MAIN}")
    if tip is None:
        return ()  # a tag of a file or a tree
    folders = [inbox(kind) for kind in KINDS]
    touching = git("rev-list", "--full-history", tip, *(f"^{commit}" for commit in known if commit), "--", *folders)
    if not touching:
        return ()
    # Against each parent, a first commit against nothing.
    diff = ("diff-tree", "--stdin", "-m", "--root", "-r", "-z", "--no-commit-id", "--name-only", "--no-renames")
    shown = git.names(*diff, "--diff-filter=ACMRT", "--", *folders, data=f"{touching}\n".encode())
    return tuple(sorted({path for path in shown if not path.endswith("/.gitkeep")}))


def photos_left(git: Git, commit: str) -> tuple[str, ...]:
    """Paths of the inbox in a commit's own tree."""
    folders = [inbox(kind) for kind in KINDS]
    found = git.names("ls-tree", "-r", "-z", "--name-only", "--full-tree", commit, "--", *folders)
    return tuple(path for path in found if not path.endswith("/.gitkeep"))


def refuse_elsewhere(ref: PushedRef, photos: Sequence[str]) -> None:
    """Raise PushRefusedError if photos go where nobody would merge them."""
    if photos and not (ref.to_main or ref.takes_photos):
        target = ref.remote_name.removeprefix(_BRANCH)
        raise PushRefusedError(
            f"The push to {target} carries {len(photos)} photos and masks ({photos[0]!r} first), which belong into the "
            f"data set, not into Git: push them to {MAIN}, where they are merged, or to {DATA_BRANCHES}NAME."
        )


def refuse_shrunken_pointers(git: Git, ref: PushedRef, remote: str) -> None:
    """Raise ShrinkError if main or a data branch would point to fewer files than main over there does.

    Counts only, as the .dvc files hold them: nothing is fetched. `dvc add` on a folder that isn't complete, or
    `dvc repro` after a file was lost, leave such pointers.
    """
    if ref.deletes or not (ref.to_main or ref.takes_photos) or not _is_commit(git, ref.local_commit):
        return
    known = (ref.remote_commit, f"refs/remotes/{remote}/{MAIN}")
    base = next((commit for commit in (known if ref.to_main else known[::-1]) if _is_commit(git, commit)), None)
    paths = [pointer(kind) for kind in KINDS]
    if base is None or git.ok("diff", "--quiet", base, ref.local_commit, "--", *paths):
        return
    from wms_ops.dataset.versions import pointers_at, removes_on_purpose

    before, after = pointers_at(git, base), pointers_at(git, ref.local_commit)
    for kind, old in before.items():
        count = after[kind].nfiles if kind in after else 0
        if (old.nfiles or 0) > (count or 0) and not removes_on_purpose(git, base, ref.local_commit):
            raise ShrinkError(
                f"{pointer(kind)} would shrink from {old.nfiles} to {count} files, so nothing was pushed: restore it "
                f"by `git checkout {base[:12]} -- {DATA_SET}/*.dvc`; to remove photos on purpose, use "
                "`python -m wms_ops.dataset remove`."
            )


def _is_commit(git: Git, name: str) -> bool:
    return name != ZERO and git.ok("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
