"""The squash of a branch into main, without a work tree: one commit, at most once."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

from wms_ops.base.errors import GitError, PullRequestError
from wms_ops.base.layout import main_branch
from wms_ops.git.command import Git
from wms_ops.git.scratch import Scratch
from wms_ops.git.trailers import BRANCH, NUMBER, messages, trailers
from wms_ops.git.write import write_commit
from wms_ops.pulls.file_branch import fetch_branch, push_again, push_first
from wms_ops.pulls.protocol import Pull, conflict


def squash(scratch: Scratch, pull: Pull, head: str, message: str, before: Callable[[], None]) -> str:
    """Put the changes of `head` into main as a commit with this message, and return the commit.

    An earlier commit of main for this pull request is returned instead. `before` is called just before each push.
    Raises PullRequestError for a conflict, GitError if main can't be pushed.
    """
    git = scratch.git

    def write() -> str:
        base = fetch_main(scratch)
        if done := squashed(git, base).get((pull.number, pull.branch)):
            return done
        commit = write_commit(git, merged_tree(git, base, head, pull.branch), [base], message.encode())
        before()
        push_first(scratch, main_branch(), commit, base)
        # Main may have moved on in the meantime, but never to something without this commit.
        if not git.ok("merge-base", "--is-ancestor", commit, fetch_main(scratch)):
            raise GitError(f"{main_branch()} isn't what was pushed there; look at its history, then run this again.")
        return commit

    return push_again(write)


def squashed(git: Git, main: str) -> dict[tuple[int, str], str]:
    """Return main's commits from squashed pull requests, by the number and branch in their trailers."""
    # The search only saves reading: a text may hold the words without having the trailer.
    commits = git("rev-list", "--fixed-strings", f"--grep={NUMBER}: ", main).split()
    found = {}
    for commit, message in zip(commits, messages(git, commits), strict=True):
        said = trailers(message)
        for number, branch in product(said.get(NUMBER.lower(), []), said.get(BRANCH.lower(), [])):
            if number.isdecimal():
                found[int(number), branch] = commit
    return found


def merged_tree(git: Git, base: str, head: str, branch: str) -> str:
    """Return the tree of main with a branch's changes. Raises PullRequestError for files that both changed."""
    done = git.attempt("merge-tree", "--write-tree", "--name-only", "-z", base, head)
    tree, *rest = done.stdout.decode("utf-8", "surrogateescape").split("\0")
    if done.returncode == 0:
        return tree
    if done.returncode != 1 or not tree:
        said = done.stderr.decode("utf-8", "replace").strip().removeprefix("fatal: ").removeprefix("error: ")
        raise PullRequestError(f"{branch} can't be merged: {said or 'merge-tree needs git 2.38 or newer'}.")
    raise conflict(branch, rest[: rest.index("")])


def fetch_main(scratch: Scratch) -> str:
    """Return main's present commit in the origin, with its history. Raises PullRequestError without a main."""
    main = fetch_branch(scratch, main_branch())
    if main is None:
        raise PullRequestError(f"The origin has no branch {main_branch()} to merge into; push one first.")
    return main
