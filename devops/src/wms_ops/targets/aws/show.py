"""The present state of the cloud at AWS as text: the instance, its start, its price, and its holder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from wms.errors import UsageError, WmsError
from wms.names import harmless
from wms_ops.base.errors import PipelineError
from wms_ops.cost.bills import month_so_far
from wms_ops.cost.estimate import dollars, hourly
from wms_ops.cost.prices import price_table
from wms_ops.cost.sessions import month_name, month_start
from wms_ops.targets.aws.boot import read_boot
from wms_ops.targets.aws.cloud import AwsCloud
from wms_ops.targets.aws.ending import hindrances
from wms_ops.targets.aws.inventory import Instance, find_instances
from wms_ops.targets.aws.lease import GRACE, LONGEST
from wms_ops.targets.aws.settings import LONGEST_HOURS
from wms_ops.targets.aws.store_root import state_bucket_exists
from wms_ops.targets.host.messages import Alive

_NOTHING: Final = "No instance runs at AWS, and nothing of one is left"


_WIDE: Final = (
    "  MLflow works with the rights of the whole instance, because this account lets it take no narrower ones "
    "(docs/cloud.md#who-may-reach-it)."
)


def price_text(cloud: AwsCloud, minutes: int) -> str:
    """Price per hour and for the whole life, before a start. Raises UsageError for a type without a price."""
    choice = cloud.choice()
    rates, hours = choice.rates(), minutes / 60
    waiting, training = (
        hourly(rates, spot=choice.spot, disk_gb=choice.disk_gb, busy=is_busy) for is_busy in (False, True)
    )
    return (
        f"A {choice} with {choice.disk_gb:.0f} GB costs about {dollars(waiting)} an hour while it waits and "
        f"{dollars(training)} while it trains. It ends itself after {hours:.1f} hours, at a cost "
        f"of {dollars(waiting * hours)} to {dollars(training * hours)} (docs/cost.md)."
    )


def instance_text(cloud: AwsCloud) -> str:
    """A sentence about the instance, for the question whether to end it."""
    found = cloud.context.instances()
    if not found:
        region = cloud.context.names.region
        return f"{_NOTHING} in {region}, as far as its tags tell; a teardown looks for everything else."
    return _safe(_sentence(one, cloud.context.now()) for one in found)


def status_text(cloud: AwsCloud) -> str:
    """All known facts, in some lines."""
    names, now = cloud.context.names, cloud.context.now()
    lines = [f"Account {names.account}, region {names.region}, environment {names.environment}: {cloud.status()}."]
    has_bucket = state_bucket_exists(cloud.context.aws.s3, names)
    lease = cloud.context.leases.read() if has_bucket else None
    if lease is not None and not lease.is_over(now):
        doubt = "" if lease.is_credible(now) else f", {lease.advice(now)}"
        lines.append(f"Held by {lease.who} since {lease.taken_at:%Y-%m-%d %H:%M} UTC{doubt}.")
    for one in cloud.context.instances():
        lines.append(_sentence(one, now))
        lines += [f"  {sentence}" for sentence in hindrances(cloud.context.aws.ec2, one.id)]
        lines += [
            f"  {step.title}: {step.state}{f' ({step.sentence})' if step.sentence else ''}, {step.at[11:19]} UTC"
            for step in read_boot(cloud.context, one.launch_id)
        ]
        with contextlib.suppress(WmsError):
            if alive := cloud.queue(one).alive():
                lines += host_lines(alive)
    with contextlib.suppress(WmsError):
        if endpoints := cloud.endpoints():
            lines += addresses(endpoints.mlflow, endpoints.service)
    if has_bucket:
        lines.append(f"{month_text(cloud)}.")
    return _safe([*lines, _looked_at(cloud)])


def _safe(lines: Iterable[str]) -> str:
    """Lines with values from tags, buckets and instances, none of which adds a line or is obeyed by a terminal."""
    return "\n".join(map(harmless, lines))


def _looked_at(cloud: AwsCloud) -> str:
    """The region and environments of this status: an instance elsewhere costs as well, and isn't in it."""
    names, context = cloud.context.names, cloud.context
    others = [one for one in find_instances(context.aws.ec2, None) if one.environment != names.environment]
    listed = ", ".join(f"{one.environment} ({one.id}, {one.state})" for one in others)
    return (
        f"Looked at: account {names.account}, region {names.region} only; environment {names.environment}, and the "
        f"instances of all others there: {listed or 'none'}. Another region: `AWS_REGION=REGION wms cloud status`; "
        "another environment: `WMS_ENVIRONMENT=NAME wms cloud status`."
    )


def host_lines(alive: Alive) -> list[str]:
    """What an instance says of itself in its sign of life, a line each."""
    served = f"version {alive.version}" if alive.version is not None else "no model"
    lines = [f"  It serves {served}, has {alive.jobs} jobs, last backup {alive.backup_at or 'none yet'}."]
    return [*lines, _WIDE] if alive.mlflow_rights == "instance" else lines


def month_text(cloud: AwsCloud) -> str:
    """The cost of this month; empty if no instance was ever started. Raises the errors of AWS.

    A damaged record of the bill is named, and hides no instance.
    """
    now = cloud.context.now()
    if not state_bucket_exists(cloud.context.aws.s3, cloud.context.names):
        return ""
    try:
        cost = month_so_far(cloud.sessions(month_start(month_name(now))), price_table(), now)
    except (PipelineError, UsageError) as error:  # UsageError: a type or a region without a price
        return f"What {now:%B %Y} has cost isn't known. {str(error).rstrip('.')}"
    return f"{now:%B %Y} has cost {dollars(cost)} so far"


def addresses(mlflow: str, service: str | None) -> list[str]:
    """The addresses for users, a line each."""
    lines = [f"MLflow:   {mlflow}   (user wms; the password: `wms cloud environ --target aws`)"]
    if service:
        lines += [f"Service:  {service}/", f"API:      {service}/openapi.json"]
    return lines


def after_stop(cloud: AwsCloud) -> str:
    """The sentences after a stop: the proof, and the cost of this month."""
    text = f"{_NOTHING}: AWS was asked for instances, volumes, addresses, interfaces and open ports."
    month = month_text(cloud)
    return f"{text} {month}." if month else text


def _sentence(one: Instance, now: datetime) -> str:
    age = (now - one.launched_at).total_seconds() / 60
    until = f"ends itself at {one.deadline:%Y-%m-%d %H:%M} UTC at the latest" if one.deadline else "has no deadline"
    if one.deadline and one.deadline - one.launched_at > LONGEST + GRACE:
        until = (
            f"has a tag with the deadline {one.deadline:%Y-%m-%d %H:%M} UTC, which isn't to be trusted, as no instance "
            f"lives for more than {LONGEST_HOURS} hours; end it with devops/scripts/stop-cloud.sh"
        )
    return f"{one.id} ({one.kind}, {one.state}) was started by {one.owner or 'somebody'} {age:.0f} min ago and {until}."
