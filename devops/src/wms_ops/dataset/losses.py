"""What a commit would take out of the data set: compared by content, and by what commits say they do on purpose."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from wms.data.manifest import DataSet
from wms_ops.base.errors import ShrinkError
from wms_ops.dataset.plan import losses, refuse_shrinking
from wms_ops.git.command import Git
from wms_ops.git.trailers import messages, trailers

REMOVED = "Data-Removed"
"""The trailer of a commit that makes the data set smaller on purpose: the number of photos."""

REPLACED = "Data-Replaced"
"""The trailer of a commit that gives photos other content on purpose: their number."""

SOURCE = "Data-Source"
"""The trailer of a data branch's commit that names the inbox it was made from, by its Git tree."""

# What `publish` wrote before it wrote the trailer REPLACED.
_EARLIER = re.compile(r"Add data: \d+ new photos, (\d+) replaced")

Read = Callable[[str], DataSet]


def refuse_losses(git: Git, base: str, commit: str, read: Read) -> None:
    """Raise ShrinkError if `commit` lacks a photo of `base`, or has other content for it, and not on purpose.

    On purpose is what a commit between the two says by its trailers and has itself done: only these very photos, and
    no more of them than it says. A commit that was merged from elsewhere says nothing here. `read` is asked for the
    data set at a commit; raises what it raises, ManifestError for photos and masks that don't fit.
    """
    before, after = read(base), read(commit)
    if any(losses(before, after)):
        removed, replaced = _on_purpose(git, base, commit, read)
        refuse_shrinking(before, after, removed=removed, replaced=replaced)
    _ = after.pairs


def common(git: Git, main: str, commit: str) -> str:
    """Where a branch began: what main gained since then is no loss of the branch. `main` where they share nothing."""
    done = git.attempt("merge-base", main, commit)
    return done.stdout.decode("ascii").strip() if done.returncode == 0 else main


def says_removal(git: Git, base: str, commit: str) -> bool:
    """Whether a commit since `base` says that it removes photos."""
    return any(removed for _, removed, _ in _saying(git, base, commit))


def _on_purpose(git: Git, base: str, commit: str, read: Read) -> tuple[set[str], set[str]]:
    removed, replaced = set[str](), set[str]()
    for one, *numbers in _saying(git, base, commit):
        (parent,) = git.commits(f"{one}^")
        did = losses(read(parent) if parent else DataSet(), read(one))
        for stems, number, name in zip(did, numbers, (REMOVED, REPLACED), strict=True):
            if len(stems) > number > 0:
                raise ShrinkError(
                    f"Commit {one[:10]} says {name}: {number}, but that is so of {len(stems)} photos "
                    f"({min(stems)!r} first), so it was refused; use `wms data remove`."
                )
            if number:
                (removed if name == REMOVED else replaced).update(stems)
    return removed, replaced


def _saying(git: Git, base: str, commit: str) -> Iterator[tuple[str, int, int]]:
    """Commits since `base` on the branch itself that speak of removing or replacing: how many photos of each."""
    commits = git("rev-list", "--first-parent", f"{base}..{commit}").split()
    for one, message in zip(commits, messages(git, commits), strict=True):
        told = trailers(message)
        removed, replaced = (_number(told.get(name.lower(), [])) for name in (REMOVED, REPLACED))
        if REPLACED.lower() not in told and SOURCE.lower() in told and (earlier := _EARLIER.match(message)):
            replaced = int(earlier[1])
        if removed or replaced:
            yield one, removed, replaced


def _number(said: list[str]) -> int:
    return sum(int(one) for one in said if one.isdecimal() and len(one) < 10)
