"""Pull requests as the loop sees them: their values and operations, on GitHub or in any origin."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Protocol

from wms.names import reason_against
from wms_ops.base.errors import PullRequestError
from wms_ops.git.trailers import BRANCH, NUMBER, with_trailers

CHECK = "wms/gate"
"""The check that main has to require: pending during the loop, then its verdict."""

NO_FILES: Mapping[str, bytes] = MappingProxyType({})


class PullState(StrEnum):
    """The state of a pull request. A blocked pull request stays open, with a required check that fails.

    A draft belongs to a run without a verdict yet.
    """

    DRAFT = "draft"
    OPEN = "open"
    BLOCKED = "blocked"
    MERGED = "merged"


@dataclass(frozen=True)
class Pull:
    """A pull request of a data branch into main: `head` is the branch's commit, `url` is for people.

    `reason` says why a blocked pull request is blocked, as far as its place keeps that.
    """

    number: int
    branch: str
    title: str
    state: PullState
    url: str
    head: str
    reason: str = ""


class PullRequests(Protocol):
    """The pull requests of a repository. Every method may be repeated, called by several processes, and killed."""

    def find(self, branch: str) -> Pull | None:
        """Return the branch's newest pull request; None without any, or if a person closed all of them."""
        ...

    def open(self, branch: str, title: str, body: str, *, draft: bool = False) -> Pull:
        """Request the branch's merge into main. `title` is a line, `body` Markdown.

        An open or blocked pull request of the same branch is changed instead, and open again; a pull request that
        merged all of the branch is returned unchanged. A new one is a draft with `draft`, where drafts are allowed;
        without it a draft becomes ready for review. Raises PullRequestError for a missing branch.
        """
        ...

    def ended(self, number: int) -> str:
        """Return "closed", "merged", or "" for an open pull request. Raises PullRequestError for an unknown one."""
        ...

    def update(self, pull: Pull, body: str, attachments: Mapping[str, bytes] = NO_FILES) -> Pull:
        """Replace the body, in Markdown, which refers to attachments by their names, such as pictures/a.png.

        Earlier attachments of other names stay. Raises PullRequestError.
        """
        ...

    def block(self, pull: Pull, reason: str) -> Pull:
        """Leave the pull request open, its check failed for `reason`, a sentence. Raises PullRequestError if merged."""
        ...

    def comment(self, commit: str, text: str) -> None:
        """Say something, in Markdown, about a commit that has no pull request; said again, it stays one comment."""
        ...

    def close(self, pull: Pull, comment: str) -> None:
        """Close the pull request without a merge, with a comment, a sentence; the branch stays.

        Closing again changes nothing. Raises PullRequestError if merged.
        """
        ...

    def merge(self, pull: Pull, *, head: str, title: str, message: str) -> str:
        """Approve the pull request and squash the branch into main, if its tip still is `head`; then delete the branch.

        Returns main's commit, also for an earlier merge; "" where an outside condition, such as a person's review, is
        still missing, after which the merge follows by itself. Raises PullRequestError with the obstacle.
        """
        ...


def check_title(title: str) -> str:
    """Return a title in one line. Raises PullRequestError for an empty title."""
    line = " ".join(title.split())
    if not line:
        raise PullRequestError("A pull request needs a title.")
    return line


def check_names(attachments: Mapping[str, bytes], reserved: frozenset[str] = frozenset()) -> None:
    """Raise PullRequestError unless every name is a relative path, with slashes, that no other file has."""
    folders = {str(folder) for name in attachments for folder in PurePosixPath(name).parents}
    for name in attachments:
        is_plain = reason_against(name) is None and name.isprintable()
        if not is_plain or name in folders or name.lower() in reserved:
            raise PullRequestError(f"{name!r} can't be an attachment's name; take one such as pictures/before.png.")


def squash_message(pull: Pull, title: str, message: str) -> str:
    """Return the message of main's commit: title with the number, text, and the trailers that name `pull`."""
    text = "\n\n".join(filter(None, [f"{check_title(title)} (#{pull.number})", message.strip()])) + "\n"
    # The text's own trailers of these names aren't trusted.
    return with_trailers(text, {NUMBER: str(pull.number), BRANCH: pull.branch})


def conflict(branch: str, files: list[str]) -> PullRequestError:
    """Return the error, with advice, for files (if known) that both sides changed."""
    others = [name for name in files if not name.endswith(".dvc")]
    if files and not others:
        return PullRequestError(
            f"{branch} and main both changed the data set: run `wms data join {branch}`, which brings "
            "main's photos into it, and run the loop for it again."
        )
    if not files:
        return PullRequestError(
            f"{branch} conflicts with main: run `wms data join {branch}`; if that finds other files "
            "than the data set's in conflict, merge main into it by hand. Then run the loop for it again."
        )
    more = f" and {len(others) - 1} more files" if len(others) > 1 else ""
    return PullRequestError(
        f"{branch} and main both changed {others[0]}{more}: merge main into the branch by hand, push it, and run the "
        "loop for it again."
    )


def without_login(url: str) -> str:
    """Return an address without a user's name and password.

    >>> without_login("https://anna:secret@example.org/photos.git")
    'https://example.org/photos.git'
    """
    return re.sub(r"^(\w[\w+.-]*://)[^/@]*@", r"\1", url)
