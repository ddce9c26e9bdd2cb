"""What a merge means for the data branches that wait: main's photos are joined in, and a verdict stays a verdict."""

from __future__ import annotations

from collections.abc import Callable

from wms.errors import WmsError
from wms_ops.dataset.branches import Joined, join_all
from wms_ops.loop.context import RunContext
from wms_ops.pulls.protocol import Pull, PullState

STANDS = "It was blocked before main's new photos were joined in; run the loop for this branch again."


def join_waiting(context: RunContext, say: Callable[[str], None]) -> None:
    """Join main into the branches that wait, since a push by a workflow's own token starts no workflow that would.

    A blocked pull request stays blocked, for its own reason: its check sits on a commit, and the join makes a new one.
    One that passed and waits for a review is left as it is. What can't be joined is said; the run that merged stays
    merged.
    """
    found: dict[str, Pull | None] = {}

    def waits_for_a_person(branch: str) -> bool:
        pull = found[branch] = context.pulls.find(branch)
        return pull is not None and pull.state is PullState.OPEN

    try:
        for one in join_all(context.git, context.url, waits_for_a_person):
            if not isinstance(one, Joined):
                say(f"warning: main's photos aren't joined into {one[0]}: {one[1]}")
            elif one.changed:
                say(f"Main's photos are joined into {one.branch}: {one.after} in all.")
                pull = found[one.branch]
                if pull is not None and pull.state is PullState.BLOCKED:
                    context.pulls.block(pull, pull.reason or STANDS)
    except WmsError as error:
        say(f"warning: main's photos aren't joined into the branches that wait: {error} Run `wms data join --all`.")
