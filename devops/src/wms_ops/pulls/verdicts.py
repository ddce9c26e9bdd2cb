"""What this project's check says about a commit, by who set it: a stranger may block, but can't lift a failure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

FAILED = frozenset({"failure", "error"})
ACTIONS = "github-actions[bot]"
"""The login under which the token of a workflow's run sets statuses."""


@dataclass(frozen=True)
class Verdict:
    """One status of the check: its state in GitHub's words, the login that set it ("" for a deleted user), its text."""

    state: str
    by: str
    text: str = ""


@dataclass(frozen=True)
class Standing:
    """The state that counts, and a login whose newer status doesn't, since it would have lifted another's failure.

    `reason` is the text of a failure that counts.
    """

    state: str
    ignored: str = ""
    reason: str = ""


def standing(verdicts: Sequence[Verdict], ours: Callable[[], str]) -> Standing:
    """Judge a commit's statuses, newest first; `ours` returns this command's own login, and is asked only in doubt.

    A failure ends with a newer status by the login that set it, by this command's login, or by a workflow.

    >>> forged = [Verdict("success", "mallory"), Verdict("failure", "ana"), Verdict("pending", "ana")]
    >>> standing(forged, lambda: "ben")
    Standing(state='failure', ignored='mallory', reason='')
    >>> standing([Verdict("success", "ana"), Verdict("failure", "ana")], lambda: "ben").state
    'success'
    """
    if not verdicts:
        return Standing("")
    newest = verdicts[0]
    failed = next((number for number, one in enumerate(verdicts) if one.state in FAILED), None)
    if failed is None or failed == 0:
        return Standing(newest.state) if failed is None else Standing("failure", reason=newest.text)
    later = verdicts[:failed]
    trusted = {verdicts[failed].by, ACTIONS} - {""}
    for one in later:
        if one.by in trusted or (one.by and one.by == ours()):
            return Standing(one.state)
    return Standing("failure", ignored=newest.by or "a deleted user", reason=verdicts[failed].text)
