"""Pull requests as the loop sees them: what one is, what can be done with it, wherever it lies."""

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
from wms_ops.git.trailers import with_trailers

CHECK = "wms/gate"
"""The check that main has to require: pending while the loop is at work, then its verdict."""

NUMBER, BRANCH = "Pull-Request", "Data-Branch"
"""The trailers by which main's commit names the pull request that it came from."""

NO_FILES: Mapping[str, bytes] = MappingProxyType({})


class PullState(StrEnum):
    """Where a pull request is. A blocked one is left open, with a required check that fails."""

    OPEN = "open"
    BLOCKED = "blocked"
    MERGED = "merged"


@dataclass(frozen=True)
class Pull:
    """A pull request of a data branch into main: `head` is the branch's commit, `url` is for people."""

    number: int
    branch: str
    title: str
    state: PullState
    url: str
    head: str


class PullRequests(Protocol):
    """The pull requests of one repository. Every method may be repeated, by several at a time, and killed half-way."""

    def find(self, branch: str) -> Pull | None:
        """The branch's newest pull request; None if it has none, or only ones that a person closed."""
        ...

    def open(self, branch: str, title: str, body: str) -> Pull:
        """Ask for the branch to be merged into main. `title` is a line, `body` Markdown.

        An open or blocked pull request of the same branch is changed instead, and open again; one that merged all
        of the branch is returned as it is. Raises PullRequestError for a branch that isn't there.
        """
        ...

    def update(self, pull: Pull, body: str, attachments: Mapping[str, bytes] = NO_FILES) -> Pull:
        """Give it another body, in Markdown, which refers to attachments by their names, such as pictures/a.png.

        What was attached before and isn't named again stays. Raises PullRequestError.
        """
        ...

    def block(self, pull: Pull, reason: str) -> Pull:
        """Leave it open with its check failed for this reason, a sentence. Raises PullRequestError if it's merged."""
        ...

    def merge(self, pull: Pull, *, head: str, title: str, message: str) -> str:
        """Approve it and squash it into main, if the branch's tip still is `head`; the branch is deleted then.

        Returns main's commit, also where it's merged already; "" where something outside, such as a person's
        review, is still needed, after which it merges by itself. Raises PullRequestError with what is in the way.
        """
        ...


def check_title(title: str) -> str:
    """A title in one line. Raises PullRequestError for an empty one."""
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
    """The message of the commit that main gets: title with the number, text, and the trailers that name `pull`."""
    text = "\n\n".join(filter(None, [f"{check_title(title)} (#{pull.number})", message.strip()])) + "\n"
    # A trailer of that name which the text brings along isn't to be believed.
    return with_trailers(text, {NUMBER: str(pull.number), BRANCH: pull.branch})


def conflict(branch: str, files: list[str]) -> PullRequestError:
    """What to do about files, if they're known, that both sides changed."""
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
    """An address without a user's name and password."""
    return re.sub(r"^(\w[\w+.-]*://)[^/@]*@", r"\1", url)
