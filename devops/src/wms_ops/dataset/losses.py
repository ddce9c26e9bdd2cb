"""The photos that a commit would take out of the data set: compared by content and by the commits' own trailers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from wms.data.manifest import DataSet
from wms.text import counted
from wms_ops.base.errors import ShrinkError
from wms_ops.dataset.history import revert_advice
from wms_ops.dataset.plan import losses, refuse_shrinking
from wms_ops.git.command import Git
from wms_ops.git.trailers import messages, trailers

REMOVED = "Data-Removed"
"""The trailer of a commit that makes the data set smaller on purpose: the number of photos."""

REPLACED = "Data-Replaced"
"""The trailer of a commit that gives photos other content on purpose: their number."""

SOURCE = "Data-Source"
"""The trailer of a data branch's commit that names its source, the inbox, by its Git tree."""

# The title that `publish` wrote before the trailer REPLACED existed.
_EARLIER = re.compile(r"Add data: \d+ new photos, (\d+) replaced")

Read = Callable[[str], DataSet]


def refuse_losses(git: Git, base: str, commit: str, read: Read) -> None:
    """Raise ShrinkError if `commit` lacks a photo of `base`, or has other content for a photo, and not on purpose.

    A loss is on purpose if a commit between the two announces the loss by a trailer and has itself caused it: only
    these very photos, and no more than the trailer's number. Trailers of a commit merged from elsewhere don't count.
    `read` returns the data set at a commit; its errors pass through. Raises ManifestError for photos and masks that
    don't fit.
    """
    before, after = read(base), read(commit)
    if any(losses(before, after)):
        removed, replaced = _on_purpose(git, base, commit, read)
        try:
            refuse_shrinking(before, after, removed=removed, replaced=replaced)
        except ShrinkError as error:
            raise ShrinkError(f"{error}{revert_advice(git, base, commit)}") from None
    _ = after.pairs


def common(git: Git, main: str, commit: str) -> str:
    """Return the commit where a branch began, so that main's later photos are no loss; `main` if they share none."""
    done = git.attempt("merge-base", main, commit)
    return done.stdout.decode("ascii").strip() if done.returncode == 0 else main


def says_removal(git: Git, base: str, commit: str) -> bool:
    """Return whether a commit since `base` announces a removal of photos."""
    return any(removed for _, removed, _ in _saying(git, base, commit))


def _on_purpose(git: Git, base: str, commit: str, read: Read) -> tuple[set[str], set[str]]:
    removed, replaced = set[str](), set[str]()
    for announcing, *numbers in _saying(git, base, commit):
        (parent,) = git.commits(f"{announcing}^")
        did = losses(read(parent) if parent else DataSet(), read(announcing))
        for stems, number, name in zip(did, numbers, (REMOVED, REPLACED), strict=True):
            if len(stems) > number > 0:
                raise ShrinkError(
                    f"Commit {announcing[:10]} says {name}: {number}, but that is so of {counted(len(stems), 'photo')} "
                    f"({min(stems)!r} first), so it was refused; use `wms data remove`."
                )
            if number:
                (removed if name == REMOVED else replaced).update(stems)
    return removed, replaced


def _saying(git: Git, base: str, commit: str) -> Iterator[tuple[str, int, int]]:
    """Yield the commits since `base` on the branch itself that announce removals or replacements, with both numbers."""
    # First parents only: else any merged branch could announce losses for this branch.
    commits = git("rev-list", "--first-parent", f"{base}..{commit}").split()
    for one, message in zip(commits, messages(git, commits), strict=True):
        told = trailers(message)
        removed, replaced = (_number(told.get(name.lower(), [])) for name in (REMOVED, REPLACED))
        if REPLACED.lower() not in told and SOURCE.lower() in told and (earlier := _EARLIER.match(message)):
            replaced = int(earlier[1])
        if removed or replaced:
            yield one, removed, replaced


def _number(said: list[str]) -> int:
    # A longer number is nonsense, and int() may refuse to read it.
    return sum(int(number) for number in said if number.isdecimal() and len(number) < 10)
