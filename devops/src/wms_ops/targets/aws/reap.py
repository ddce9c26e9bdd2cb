"""The reaper: whatever at AWS is past its deadline goes, whoever started it and whatever became of them.

`wms cloud reap` asks all environments of the account and region; it needs no record of anybody's,
because the deadline is on each thing. What is within its deadline is never touched.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from wms_ops.base.errors import BucketNotFoundError, CloudError
from wms_ops.cost.session_store import SessionStore
from wms_ops.cost.sessions import EndedBy
from wms_ops.targets.aws.inventory import Resource, ResourceKind, find
from wms_ops.targets.aws.sweep import Clients, await_absence, sweep

GRACE: Final = timedelta(minutes=10)
"""After the deadline: the machine ends itself then, which is what is to be seen to first."""

UNDATED: Final = timedelta(hours=24)
"""How long something may live whose deadline can't be read."""

ORPHANED: Final = timedelta(hours=1)
"""How old things without any instance must be: Terraform makes them some minutes before it."""


@dataclass(frozen=True)
class Overdue:
    """A thing that must go, and why."""

    resource: Resource
    reason: str


def overdue(resources: Collection[Resource], now: datetime, grace: timedelta = GRACE) -> tuple[Overdue, ...]:
    """What is past its deadline, or a day old without a readable one.

    A network that an instance within its deadline may use stays, whatever its own tags say.
    """
    judged = [Overdue(one, reason) for one in resources if (reason := _lateness(one, now, grace))]
    late = {one.resource for one in judged}
    in_use = {one.environment for one in resources if one.kind is ResourceKind.INSTANCE and one not in late}
    return tuple(one for one in judged if one.resource.costs or one.resource.environment not in in_use)


def orphans(resources: Collection[Resource], now: datetime) -> tuple[Overdue, ...]:
    """What is left of environments that have no instance (any more) and are over an hour old."""
    alive = {one.environment for one in resources if one.kind in (ResourceKind.INSTANCE, ResourceKind.SPOT)}
    young = {one.environment for one in resources if one.created is not None and now - one.created <= ORPHANED}
    left = [one for one in resources if one.environment not in alive | young]
    return tuple(Overdue(one, "no instance belongs to it") for one in left)


def reap(
    clients: Clients,
    *,
    environment: str | None,
    is_held: Callable[[str], bool],
    show: Callable[[str], None],
    step: Callable[[str], None] = lambda _: None,
    now: datetime | None = None,
    grace: timedelta = GRACE,
    dry_run: bool = False,
) -> tuple[Overdue, ...]:
    """Delete what is overdue or orphaned, of one environment or of all (None), and see that it's gone; returns it.

    `is_held` says whether somebody is changing an environment at this moment: then only what costs and is past its
    deadline goes. Raises CloudError with everything that couldn't be deleted, after all else was, and what
    `aws_errors` does.
    """
    resources = find(clients.ec2, clients.iam, environment=environment, show=show)
    now = now or datetime.now(UTC)
    late = {one.resource: one for one in overdue(resources, now, grace)}
    found = late | {one.resource: one for one in orphans(resources, now) if one.resource not in late}
    going: list[Overdue] = []
    failures: list[CloudError] = []
    for name in sorted({resource.environment for resource in found}):
        own = [one for resource, one in found.items() if resource.environment == name]
        if is_held(name):
            own = [one for one in own if one.resource.costs and one.resource in late]
        going += own
        if own and not dry_run:
            try:
                sweep(clients, [one.resource for one in own], show, step)
            except CloudError as error:  # the other environments' things cost, too
                failures.append(error)
    if failures:
        raise CloudError(" ".join(map(str, failures)))
    if going and not dry_run:
        _prove(clients, {one.resource for one in going}, environment)
    return tuple(going)


def note_ends(store: SessionStore, gone: Iterable[Overdue], now: datetime) -> None:
    """Put the end of each instance that was reaped into the bill; one that nobody began is not in it."""
    for resource in (one.resource for one in gone):
        if resource.kind is ResourceKind.INSTANCE and resource.launch_id:
            with contextlib.suppress(BucketNotFoundError):  # then there is no bill
                store.change(resource.environment, resource.launch_id, lambda one: one.ended(now, EndedBy.REAPER))


def _lateness(resource: Resource, now: datetime, grace: timedelta) -> str:
    if resource.deadline is not None:
        late = now - resource.deadline
        return f"past its deadline by {_hours(late)}" if late > grace else ""
    if resource.created is not None and now - resource.created > UNDATED:
        return f"without a readable deadline, and {_hours(now - resource.created)} old"
    return ""


def _prove(clients: Clients, gone: Collection[Resource], environment: str | None) -> None:
    keys = {(one.kind, one.id) for one in gone}

    def look() -> Sequence[Resource]:
        found = find(clients.ec2, clients.iam, environment=environment)
        return [one for one in found if (one.kind, one.id) in keys]

    if left := await_absence(look):
        listed = ", ".join(map(str, left))
        raise CloudError(f"{listed} are still there; run `wms cloud reap` again in a minute.")


def _hours(span: timedelta) -> str:
    minutes = round(span.total_seconds() / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"
