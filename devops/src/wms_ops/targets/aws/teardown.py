"""Ending the instance: first the instance itself, then all that carries the launch's tags, then the proof.

No step needs the output or files of an earlier step, nor Terraform: names and tags are enough. So any machine with
credentials can end the instance of any other machine.
"""

from __future__ import annotations

import getpass
import platform
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from wms.errors import WmsError
from wms_ops.base.errors import PipelineError
from wms_ops.base.poll import poll
from wms_ops.base.signals import unstoppable
from wms_ops.cost.sessions import EndedBy, Session
from wms_ops.storage.trouble import aws_errors
from wms_ops.targets.aws import access, password
from wms_ops.targets.aws.context import INSTANCE_ROOT, AwsContext
from wms_ops.targets.aws.ending import terminate
from wms_ops.targets.aws.inventory import find
from wms_ops.targets.aws.lease import Lease
from wms_ops.targets.aws.locks import GRACE, Lock, break_stale_lock, read_lock
from wms_ops.targets.aws.store_root import state_bucket_exists
from wms_ops.targets.aws.sweep import prove_nothing_left, sweep

_POLL_S: Final = 2.0
_SILENT_S: Final = 45.0
_LATE_S: Final = 5.0
"""How long AWS may not list a new instance yet."""

STEPS: Final = (
    *("leased", "closed", "backed up", "terminated", "unlocked", "swept", "proven"),
    *("state reset", "ended", "forgotten", "released"),
)
"""The names that `AwsContext.step` hears, in this order, each after the step."""


def take_down(context: AwsContext, *, force: bool = False) -> None:
    """End the instance and all its resources, and prove the end; does nothing without resources.

    Raises BusyError for another holder's instance, unless `force`; CloudError for a resource that can't be ended, and
    the errors of credentials and network. A second call continues the first. Ctrl-C doesn't interrupt the deletion.
    """
    with context.locked(), unstoppable(context.show):
        tear_down(context, force=force)


def tear_down(context: AwsContext, *, force: bool = False) -> None:
    """`take_down`, for callers that handle interrupts and the folder's lock themselves."""
    context.check_account()
    if not state_bucket_exists(context.aws.s3, context.names):
        _sweep(context, 0.0)  # this code never started an instance here; tagged resources go all the same
        context.forget_account()
        return
    lease = context.leases.take(context.holder, context.now() + timedelta(minutes=30), force=force, show=context.show)
    context.step("leased")
    with context.leases.beating(context.holder):
        unlaunch(context, lease)
        password.forget(context.aws.ssm, context.names)
        context.step("forgotten")
    context.leases.release(context.holder)
    context.forget_account()
    context.step("released")


def unlaunch(context: AwsContext, lease: Lease) -> None:
    """End every instance of this environment after a last backup, and correct the state and the bill."""
    _close(context)
    _back_up(context, lease)
    was_there = _terminate(context)
    clear_lock(context, INSTANCE_ROOT)
    context.step("unlocked")
    _sweep(context, 0.0 if was_there or not lease.launch_id else _LATE_S)
    key = context.names.state_key(INSTANCE_ROOT)
    if context.state.facts(key) is not None:
        context.state.delete([key])  # all that it names is proven gone; the bucket keeps the old version
    context.step("state reset")
    if lease.launch_id:
        now = context.now()
        try:
            context.sessions.change(context.names.environment, lease.launch_id, lambda session: _ended(session, now))
        except PipelineError as error:  # the instance is gone, and the next start needs the lease
            context.show(f"warning: the bill lacks this end. {error}")
    context.step("ended")


def clear_lock(context: AwsContext, root: str) -> None:
    """Remove the lock of a killed Terraform, waiting until its process is surely gone.

    Only the lease's holder calls this function, and runs no Terraform meanwhile. A lock from this machine needs no
    wait; a cancelled job's Terraform on another machine may go on for some seconds.
    """
    context.terraform(root).end_orphan()
    key = context.names.state_key(root)
    own_name = f"{getpass.getuser()}@{platform.node()}"  # as Terraform writes it into a lock

    def left() -> Lock | None:
        while (lock := read_lock(context.state, key)) is not None:
            grace = timedelta(0) if lock.who == own_name else GRACE
            if break_stale_lock(context.state, key, is_held=False, grace=grace) is None:
                break
            context.show(f"Broke {lock}: its holder is gone.")
        return lock

    def waiting(lock: Lock | None, _: float) -> None:
        context.show(f"Waiting at most {GRACE.total_seconds():.0f} s for {lock}.")

    poll(left, None, until=lambda lock: lock is None, pause_s=_POLL_S, waiting=waiting, every_s=GRACE.total_seconds())


def _close(context: AwsContext) -> None:
    """Close the ports: a request after the last backup would be lost."""
    for instance in context.instances():
        for group in instance.groups:
            access.revoke(context.aws.ec2, group)
    context.step("closed")


def _back_up(context: AwsContext, lease: Lease) -> None:
    """Ask the instance for a last backup; without an answer the newest backup, minutes old, has to do."""
    queue = replace(context.queue(lease.launch_id), dead_s=_SILENT_S)
    if context.usable(lease.launch_id, spare=timedelta(0)) is not None:
        try:
            if queue.alive() is not None:  # else the agent hasn't started, and MLflow has no data to lose
                queue.backup()
        except WmsError as error:
            context.show(f"The instance makes no backup any more ({error}) The newest one in S3 stays.")
    context.step("backed up")


def _terminate(context: AwsContext) -> bool:
    """Stop the bill before any step that may take time or fail; returns whether AWS lists an instance."""
    found = context.instances()
    ids = [instance.id for instance in found if instance.state != "shutting-down"]
    if ids:
        context.show(f"Ending {', '.join(ids)}.")
        with aws_errors("end the instance"):
            terminate(context.aws.ec2, ids)
    context.step("terminated")
    return bool(found)


def _sweep(context: AwsContext, late_s: float) -> None:
    """Delete what carries the tags, and prove that it is gone; an instance of a killed start may be listed `late_s`."""
    environment = context.settings.environment
    resources = poll(lambda: find(context.aws, environment=environment), late_s, until=bool, pause_s=1.0)
    if resources:
        sweep(context.aws, resources, context.show, context.step)
    context.step("swept")
    if resources:
        prove_nothing_left(context.aws, environment=environment)
    context.step("proven")


def _ended(session: Session, now: datetime) -> Session:
    """The session with its end: an instance that was over before this teardown was ended by its deadline."""
    return session.ended(now, EndedBy.DOWN) if now < session.deadline else session.found_gone(now)
