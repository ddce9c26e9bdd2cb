"""The contents of a push: read from the lines that git hands to a pre-push hook, and from the commits themselves.

Only the standard library is imported here: a push without photos must not wait for slow imports.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wms_ops.base.errors import GitError, PushRefusedError
from wms_ops.base.layout import DATA_BRANCHES, DVC_CONFIG, INBOX, KINDS, inbox, main_branch, pointer
from wms_ops.git.command import Git

WATCHED = (*map(pointer, KINDS), DVC_CONFIG)
"""The files that name a commit's data set and its store."""

_BRANCH = "refs/heads/"
_TAG = "refs/tags/"


@dataclass(frozen=True, slots=True)
class PushedRef:
    """A line of a pre-push hook's input: names and commits in this clone and on the remote."""

    local_name: str
    local_commit: str
    remote_name: str
    remote_commit: str

    @property
    def deletes(self) -> bool:
        """Whether the push deletes the remote ref."""
        return set(self.local_commit) == {"0"}

    @property
    def creates(self) -> bool:
        """Whether the remote lacks the ref."""
        return set(self.remote_commit) == {"0"}

    @property
    def to_main(self) -> bool:
        """Whether the ref is main, which photos must not reach."""
        return self.remote_name == _BRANCH + main_branch()

    @property
    def is_tag(self) -> bool:
        """Whether the remote ref is a tag."""
        return self.remote_name.startswith(_TAG)

    @property
    def takes_photos(self) -> bool:
        """Whether the ref may carry photos: a data branch, which a workflow merges."""
        return self.remote_name.startswith(_BRANCH + DATA_BRANCHES)


def parse(lines: Iterable[str]) -> tuple[PushedRef, ...]:
    """Parse the refs of a push. Raises GitError for a line that git wouldn't write.

    >>> parse([f"refs/heads/main {'a' * 40} refs/heads/main {'0' * 40}"])[0].creates
    True
    """
    refs = []
    for line in lines:
        parts = line.split()
        if len(parts) != len(PushedRef.__slots__):
            raise GitError(f"The pre-push hook was given {line!r}, which git doesn't write; run it by `git push`.")
        refs.append(PushedRef(*parts))
    return tuple(refs)


def photos_in(git: Git, ref: PushedRef, remote: str) -> tuple[str, ...]:
    """Paths of the inbox that the commits of a push add or change, also those that a later commit removes.

    Paths already on the remote's main don't count. Paths on another remote branch only do count: photos that wait on
    a data branch may not reach main by a second push.
    """
    if ref.deletes or ref.takes_photos:
        return ()
    tip, remote_tip, main = git.commits(ref.local_commit, ref.remote_commit, f"refs/remotes/{remote}/{main_branch()}")
    if tip is None:
        return ()  # a tag of a file or a tree
    # Git names the remote's main; this clone's remote-tracking branch may hold more than main holds now.
    known = [remote_tip] if ref.to_main and (remote_tip or ref.creates) else [remote_tip, main]
    folders = [INBOX]
    touching = git("rev-list", "--full-history", tip, *(f"^{commit}" for commit in known if commit), "--", *folders)
    if not touching:
        return ()
    # Against each parent, a first commit against nothing.
    diff = ("diff-tree", "--stdin", "-m", "--root", "-r", "-z", "--no-commit-id", "--name-only", "--no-renames")
    shown = git.names(*diff, "--diff-filter=ACMRT", "--", *folders, data=f"{touching}\n".encode())
    return tuple(sorted({path for path in shown if not path.endswith("/.gitkeep")}))


def refuse_strays(photos: Iterable[str]) -> None:
    """Raise PushRefusedError for files of the inbox outside of images/ and masks/: the data set never takes them up."""
    folders = tuple(f"{inbox(kind)}/" for kind in KINDS)
    if linked := next((path for path in photos if f"{path}/" in folders), None):
        raise PushRefusedError(
            f"{linked!r} is a link or a file where a folder must be, so nothing was pushed: make it a folder that "
            "holds the files themselves, commit, and push again."
        )
    if wrong := [path for path in photos if not path.startswith(folders)]:
        raise PushRefusedError(
            f"{wrong[0]!r} (and {len(wrong) - 1} more) lies in {INBOX}, but neither in images/ nor in masks/, so "
            "nothing was pushed: move photos to images/ and masks to masks/ (lower case), commit, and push again."
        )


def refuse_unknown(git: Git, refs: Iterable[PushedRef]) -> None:
    """Raise GitError for a pushed object that this repository lacks: then the push is from another clone."""
    pushed = [ref.local_commit for ref in refs if not ref.deletes]
    asked = "".join(f"{name}\n" for name in pushed).encode()
    lines = git("cat-file", "--batch-check=%(objectname)", data=asked).split("\n") if pushed else []
    if gone := next((name for name, line in zip(pushed, lines, strict=True) if line != name), None):
        raise GitError(
            f"The pushed commit {gone[:12]} isn't in {git.folder}, so the hook can't look at it and nothing was "
            "pushed: change into the folder of the clone that it is from, and push from there."
        )


def photos_left(git: Git, commit: str) -> tuple[str, ...]:
    """Paths of the inbox in a commit's own tree."""
    folders = [inbox(kind) for kind in KINDS]
    return tuple(path for _, _, path in git.files(commit, *folders) if not path.endswith("/.gitkeep"))


def refuse_elsewhere(ref: PushedRef, photos: Sequence[str]) -> None:
    """Raise PushRefusedError if photos go to a branch that no workflow merges."""
    if photos and not (ref.to_main or ref.takes_photos):
        target = ref.remote_name.removeprefix(_BRANCH)
        if ref.is_tag:
            name = target.removeprefix(_TAG)
            raise PushRefusedError(
                f"The tag {name} is on commits with {len(photos)} photos and masks ({photos[0]!r} first), which belong "
                f"into the data set, not into Git, so nothing was pushed: push them to {main_branch()} without the "
                f"tag, take them out of your commits by `wms data take-back`, then put the tag onto the new commit."
            )
        raise PushRefusedError(
            f"The push to {target} carries {len(photos)} photos and masks ({photos[0]!r} first), which belong into the "
            f"data set, not into Git: push them to {main_branch()}, where they are merged, or to {DATA_BRANCHES}NAME."
        )


def may_change_data_set(git: Git, ref: PushedRef, remote: str) -> bool:
    """Whether a push to main or a data branch changes the files that name main's data set; True when in doubt.

    Only this clone is asked: a push that leaves these files alone must not wait for the network.
    """
    if ref.deletes or not (ref.to_main or ref.takes_photos):
        return False
    tip, remote_tip, main = git.commits(ref.local_commit, ref.remote_commit, f"refs/remotes/{remote}/{main_branch()}")
    if tip is None:
        return False
    if ref.to_main and ref.creates:
        return bool(git("ls-tree", "--full-tree", tip, "--", *WATCHED))
    if ref.to_main:
        return remote_tip is None or not same_data_set(git, remote_tip, tip)
    # Compared with the merge base, because main's own later changes aren't the branch's.
    start = git.attempt("merge-base", main, tip).stdout.decode("ascii").strip() if main else ""
    return not start or not same_data_set(git, start, tip)


def same_data_set(git: Git, one: str, other: str) -> bool:
    """Whether two commits have the same pointers, by the same .dvc/config."""
    return git.ok("diff-tree", "--quiet", "-r", one, other, "--", *WATCHED)


def refuse_deletion(ref: PushedRef) -> None:
    """Raise PushRefusedError if the push would delete the remote's main, and with main the pointers to the data set."""
    if ref.deletes and ref.to_main:
        raise PushRefusedError(
            f"The push would delete {main_branch()} on the remote, and with it the pointers to the data set, so "
            "nothing was pushed; `git push --no-verify` does it all the same."
        )
