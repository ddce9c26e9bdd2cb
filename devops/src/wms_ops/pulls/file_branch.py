"""Files on a branch that shares no history with main: read and written without a work tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from wms_ops.base.errors import GitError, PullRequestError
from wms_ops.base.poll import insist
from wms_ops.git.command import Git
from wms_ops.git.scratch import Scratch
from wms_ops.git.write import push, remote_tip, write_commit, write_tree

SHELF = "pull-requests"
"""The branch of pull requests and their attachments."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Files:
    """The branch's files at `commit`; none where `commit` is None."""

    git: Git
    commit: str | None

    def names(self, folder: str = "") -> list[str]:
        """Return the paths of all plain files, or of those in a folder, without links."""
        if self.commit is None:
            return []
        listed = self.git.files(self.commit, *([f"{folder}/"] if folder else []))
        return [path for mode, _, path in listed if mode.startswith("100")]

    def read(self, names: list[str]) -> Iterator[bytes]:
        """Return the files' contents, in this order. Raises GitError for a missing file."""
        listed = self.git.files(self.commit, *names) if self.commit and names else ()
        found = {path: blob for _, blob, path in listed}
        if missing := [name for name in names if name not in found]:
            raise GitError(f"The branch {SHELF} holds no {missing[0]!r}.")
        return self.git.blobs(found[name] for name in names)


@dataclass(frozen=True)
class BranchEdit(Generic[Result]):
    """The files to write, by path, with the commit's message; `result` goes back to the caller."""

    files: Mapping[str, bytes]
    message: str
    result: Result


class LostPushError(PullRequestError):
    """A push lost against another; `moved` says whether that one has moved the branch already."""

    moved = True


def push_again(write: Callable[[], Result]) -> Result:
    """Return the result of `write`, repeated after LostPushError.

    Raises GitError if no other push was the cause, LostPushError after many.
    """
    stuck = 0

    def attempt() -> Result:
        nonlocal stuck
        try:
            return write()
        except LostPushError as lost:
            # Two pushes at the same moment may also stumble over each other's locks, before either has moved anything.
            stuck = 0 if lost.moved else stuck + 1
            if stuck > 3 and lost.__cause__ is not None:
                raise lost.__cause__ from None
            raise

    return insist(attempt, LostPushError, tries=61, most_s=0.2)


@dataclass(frozen=True)
class FileBranch:
    """The branch in the origin that `scratch` is a clone of.

    `contents` says whether files are read: if not, their contents aren't even fetched where the origin allows that.
    """

    scratch: Scratch
    contents: bool = True

    def look(self) -> Files:
        """Return the branch's files as of now. Raises GitError."""
        less = [] if self.contents else ["--filter=blob:none"]
        return Files(self.scratch.git, fetch_branch(self.scratch, SHELF, "--depth=1", *less))

    def change(
        self, make: Callable[[Files], BranchEdit[Result]], before: Callable[[], None] = lambda: None
    ) -> tuple[str, Result]:
        """Write the edit that `make` makes of the branch's files; `before` is called just before each push.

        No other change is lost: after another push `make` is called again. Returns the branch's commit, the old commit
        where nothing changes ("" for a missing branch), and the result. Raises GitError, PullRequestError, and the
        errors of `make`.
        """

        def write() -> tuple[str, Result]:
            files = self.look()
            change = make(files)
            if not change.files:
                return files.commit or "", change.result
            commit = self._commit(files.commit, change)
            if commit != files.commit:
                before()
                push_first(self.scratch, SHELF, commit, files.commit)
            return commit, change.result

        return push_again(write)

    def _commit(self, parent: str | None, change: BranchEdit[Result]) -> str:
        git = self.scratch.git
        blobs = ((path, git("hash-object", "-w", "--stdin", data=content)) for path, content in change.files.items())
        entries = (("100644", blob, path) for path, blob in blobs)
        tree = write_tree(git, parent, entries, git.folder / "wms-pulls-index", missing_ok=True)
        if parent and git("rev-parse", f"{parent}^{{tree}}") == tree:
            return parent
        return write_commit(git, tree, [parent] if parent else [], change.message.encode())


def push_first(scratch: Scratch, branch: str, commit: str, expected: str | None) -> None:
    """Move a branch of the origin from `expected` (None: no branch yet) to `commit`. Raises LostPushError."""
    try:
        push(scratch.git, scratch.url, branch, commit, expected or "")
    except GitError as error:
        lost = LostPushError(f"{branch} is changed by others all the time; run this again.")
        lost.moved = remote_tip(scratch.git, scratch.url, branch) != expected
        raise lost from error


def fetch_branch(scratch: Scratch, branch: str, *options: str) -> str | None:
    """Fetch a branch of the origin to refs/there, as of now; return its commit, None for a missing branch."""
    git, ref, here = scratch.git, f"refs/heads/{branch}", f"refs/there/{branch}"
    if remote_tip(git, scratch.url, branch) is not None:  # git refuses to fetch a missing branch
        try:
            git("fetch", "--quiet", "--no-tags", *options, scratch.url, f"+{ref}:{here}")
            return git("rev-parse", here)
        except GitError:
            if remote_tip(git, scratch.url, branch) is not None:  # else deleted just before the fetch
                raise
    git("update-ref", "-d", here)
    return None
