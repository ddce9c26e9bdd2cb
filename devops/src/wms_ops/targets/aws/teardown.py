"""Ending the instance: first the billed resources, then Terraform's, then all others with the tag, then the proof.

No step needs the output or files of an earlier step: names and tags are enough. So any machine with credentials can end
the instance of any other machine, also without Terraform.
"""

from __future__ import annotations

import getpass
import platform
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from wms.errors import WmsError
from wms_ops.base.poll import poll
from wms_ops.base.signals import unstoppable
from wms_ops.cost.sessions import EndedBy, Session
from wms_ops.storage.bucket import Shared
from wms_ops.storage.trouble import aws_errors
from wms_ops.targets.aws import access, password
from wms_ops.targets.aws.context import INSTANCE_ROOT, AwsContext, instance_variables
from wms_ops.targets.aws.inventory import find
from wms_ops.targets.aws.lease import Lease
from wms_ops.targets.aws.locks import GRACE, Lock, break_stale_lock, read_lock
from wms_ops.targets.aws.store_root import state_bucket_exists
from wms_ops.targets.aws.sweep import prove_nothing_left, sweep

_POLL_S: Final = 2.0
_SILENT_S: Final = 45.0
STEPS: Final = (
    *("leased", "closed", "backed up", "terminated", "unlocked", "destroyed", "swept", "proven"),
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
        _sweep(context)  # this code never started an instance here; tagged resources go all the same
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
    _terminate(context)
    clear_lock(context, INSTANCE_ROOT)
    context.step("unlocked")
    failure = _destroy(context)
    context.step("destroyed")
    _sweep(context)
    if failure is not None:
        context.show(f"Terraform couldn't: {failure} Everything was ended without it.")
        # All its resources are proven gone; the bucket keeps the old version.
        context.state.delete([context.names.state_key(INSTANCE_ROOT)])
    context.step("state reset")
    if lease.launch_id:
        now = context.now()
        context.sessions.change(context.names.environment, lease.launch_id, lambda session: _ended(session, now))
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


def _terminate(context: AwsContext) -> None:
    """Stop the bill before any step that may take time or fail."""
    ids = [instance.id for instance in context.instances() if instance.state != "shutting-down"]
    if ids:
        context.show(f"Ending {', '.join(ids)}.")
        with aws_errors("end the instance"):
            context.aws.ec2.terminate_instances(InstanceIds=ids)
    context.step("terminated")


def _destroy(context: AwsContext) -> WmsError | None:
    """Let Terraform destroy the resources in its state; returns a failure, which must not stop the sweep.

    If credentials or AWS itself are the reason, the sweep reports the same error.
    """
    if not _has_state(context):
        return None
    lease = context.leases.read() or context.leases.take(context.holder, context.now())
    try:
        terraform = context.terraform(INSTANCE_ROOT)
        terraform.init()
        terraform.destroy(instance_variables(context, lease, timedelta(minutes=5), None))
    except WmsError as error:
        return error
    return None


def _sweep(context: AwsContext) -> None:
    environment = context.settings.environment
    if resources := find(context.aws, environment=environment):
        sweep(context.aws, resources, context.show, context.step)
    context.step("swept")
    prove_nothing_left(context.aws, environment=environment)
    context.step("proven")


def _ended(session: Session, now: datetime) -> Session:
    """The session with its end: an instance that was over before this teardown was ended by its deadline."""
    return session.ended(now, EndedBy.DOWN) if now < session.deadline else session.found_gone(now)


def _has_state(context: AwsContext) -> bool:
    """Whether Terraform's state names any resource; for an unreadable state Terraform has to report the error."""
    value, etag = Shared(context.state, context.names.state_key(INSTANCE_ROOT)).read()
    return etag is not None and not (isinstance(value, dict) and value.get("resources") == [])
