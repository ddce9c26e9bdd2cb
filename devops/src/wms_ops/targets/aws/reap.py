"""The reaper: deletes every resource at AWS past its deadline, from any user.

`wms cloud reap` covers all environments of the account and region. The reaper needs no record, because each resource
carries its deadline. Resources within their deadline are never touched.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from wms_ops.base.errors import BucketNotFoundError, CloudError, PipelineError
from wms_ops.cost.session_store import S3SessionStore
from wms_ops.cost.sessions import EndedBy
from wms_ops.targets.aws.inventory import Clients, Resource, find
from wms_ops.targets.aws.kinds import ResourceKind
from wms_ops.targets.aws.lease import LONGEST
from wms_ops.targets.aws.settings import LONGEST_HOURS
from wms_ops.targets.aws.sweep import prove_nothing_left, sweep

GRACE: Final = timedelta(minutes=10)
"""After the deadline: the machine ends itself then, and should get the chance first."""

UNDATED: Final = timedelta(hours=24)
"""The longest life of a resource without a readable deadline."""

ORPHANED: Final = timedelta(hours=1)
"""The least age of resources without an instance: Terraform makes them some minutes before the instance."""

_ALIVE: Final = (ResourceKind.INSTANCE, ResourceKind.SPOT)
"""What the others belong to: without one of these they go as orphans."""


@dataclass(frozen=True)
class Overdue:
    """A resource that must go, and the reason."""

    resource: Resource
    reason: str


def overdue(resources: Collection[Resource], now: datetime) -> tuple[Overdue, ...]:
    """The resources past their deadline, or a day old without a readable deadline.

    A network that an instance within its deadline may use stays, whatever the network's own tags say.
    """
    judged = [Overdue(resource, reason) for resource in resources if (reason := _reason(resource, now))]
    late = {entry.resource for entry in judged}
    in_use = {one.environment for one in resources if one.kind is ResourceKind.INSTANCE and one not in late}
    return tuple(entry for entry in judged if entry.resource.costs or entry.resource.environment not in in_use)


def orphans(resources: Collection[Resource], now: datetime) -> tuple[Overdue, ...]:
    """Resources over an hour old in environments that have no instance (any more)."""
    alive = {one.environment for one in resources if one.kind in _ALIVE}
    young = {one.environment for one in resources if one.created is not None and now - one.created <= ORPHANED}
    left = [one for one in resources if one.environment not in alive | young]
    return tuple(Overdue(one, "no instance belongs to it") for one in left)


def reap(
    clients: Clients,
    *,
    environment: str | None,
    is_held: Callable[[str], bool],
    show: Callable[[str], None],
    now: datetime | None = None,
    dry_run: bool = False,
) -> tuple[Overdue, ...]:
    """Delete overdue and orphaned resources of one environment or of all (None), prove the deletion, and return them.

    `is_held` says whether a process is changing an environment now: then only resources that cost money and are past
    their deadline go. Raises CloudError with all resources that couldn't be deleted, after all others were, and the
    errors of `aws_errors`.
    """
    resources = find(clients, environment=environment, show=show)
    now = now or datetime.now(UTC)
    late = {one.resource: one for one in overdue(resources, now)}
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
                sweep(clients, [one.resource for one in own], show)
            except CloudError as error:  # the other environments' resources cost, too
                failures.append(error)
    if failures:
        raise CloudError(" ".join(map(str, failures)))
    if going and not dry_run:
        prove_nothing_left(clients, environment=environment, among=[one.resource for one in going])
    return tuple(going)


def note_ends(
    store: S3SessionStore, gone: Iterable[Overdue], now: datetime, show: Callable[[str], None] = lambda _: None
) -> None:
    """Record the end of each reaped instance in the bill; an instance without a session is ignored.

    `show` hears of a damaged record.
    """
    for resource in (one.resource for one in gone):
        if resource.kind is ResourceKind.INSTANCE and resource.launch_id:
            with contextlib.suppress(BucketNotFoundError):  # without the bucket no bill exists
                try:
                    store.change(resource.environment, resource.launch_id, lambda one: one.ended(now, EndedBy.REAPER))
                except PipelineError as error:
                    show(f"warning: the bill lacks an end. {error}")


def lateness(now: datetime, deadline: datetime | None, created: datetime | None, *, is_instance: bool) -> str:
    """The reason why what was `created` then, with that deadline, must go; empty if it may stay."""
    age = now - created if created is not None else timedelta()
    if deadline is None:
        return f"without a readable deadline, and {_hours(age)} old" if age > UNDATED else ""
    if (late := now - deadline) > GRACE:
        return f"past its deadline by {_hours(late)}"
    # No start writes a later deadline than that: whoever may set tags changed it.
    if is_instance and age > LONGEST + GRACE:
        return f"{_hours(age)} old, and no instance may live for more than {LONGEST_HOURS} hours"
    return ""


def _reason(one: Resource, now: datetime) -> str:
    return lateness(now, one.deadline, one.created, is_instance=one.kind in _ALIVE)


def _hours(span: timedelta) -> str:
    minutes = round(span.total_seconds() / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"
