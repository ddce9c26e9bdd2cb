"""Starting the instance: each name is written down before its resource exists; a failed start ends its resources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from wms.errors import WmsError
from wms.paths import ROOT
from wms_ops.base.errors import CloudError, RepeatedRequestError
from wms_ops.base.outputs import github_run
from wms_ops.base.signals import stoppable, unstoppable
from wms_ops.cost.sessions import Purpose, Session
from wms_ops.storage.names import new_launch_id
from wms_ops.targets.aws import access, password
from wms_ops.targets.aws.bundle import make_bundle, upload
from wms_ops.targets.aws.context import INSTANCE_ROOT, STORE_ROOT, AwsContext, instance_variables
from wms_ops.targets.aws.inventory import Instance
from wms_ops.targets.aws.lease import Lease
from wms_ops.targets.aws.network import need_network
from wms_ops.targets.aws.store_root import ensure_state_bucket, ensure_store
from wms_ops.targets.aws.teardown import clear_lock, tear_down, unlaunch
from wms_ops.targets.aws.terraform import Terraform
from wms_ops.targets.aws.terraform_program import require_terraform

_START: Final = timedelta(minutes=30)
STEPS: Final = (
    *("bucket", "leased", "cleared", "store", "named", "session", "bundle", "password"),
    *("initialised", "applied", "opened", "launched"),
)
"""The names that `AwsContext.step` hears, in this order, each after the step."""


@dataclass(frozen=True)
class LaunchRequest:
    """The launch to make: its longest life, its purpose, and how long to wait for another holder's instance.

    `lifetime` is called once no instance runs, and raises the error that forbids the start.
    """

    lifetime: Callable[[], timedelta]
    purpose: Purpose = Purpose.PIPELINE
    run: str = ""
    wait_s: float = 0.0


def bring_up(context: AwsContext, request: LaunchRequest) -> Instance:
    """Start the instance, or return this holder's running instance. Safe to repeat and to kill anywhere.

    Raises BusyError if another holder has an instance, CloudError, QuotaError and the errors of credentials and
    network, after the resources of the failed start have been ended.
    """
    with context.locked():
        address = access.caller_address(context.environ)
        lease = _take(context, request.wait_s)
        context.note_account()
        context.step("leased")
        with context.leases.beating(context.holder):
            running = context.usable(lease.launch_id)
            if running is not None:
                _open(context, running, address)
                context.show(f"The instance {running.id} runs already, until {running.deadline:%Y-%m-%d %H:%M} UTC.")
                return running
            with stoppable():
                try:
                    return _launch(context, request, address, lease)
                except BaseException:
                    _undo(context)
                    raise


def make_store(context: AwsContext) -> bool:
    """Make the buckets and the image repository, which outlive every instance; False if all of them existed.

    Raises as `bring_up` does.
    """
    with context.locked():
        lease = _take(context)
        with context.leases.beating(context.holder):
            clear_lock(context, STORE_ROOT)
            made = ensure_store(context)
        if not lease.launch_id:
            context.leases.release(context.holder)
        return made


def _take(context: AwsContext, wait_s: float = 0.0) -> Lease:
    """Take the lease, only for the time of the start; the instance's own deadline is set with the launch's name."""
    require_terraform(context.environ)
    context.check_account()
    ensure_state_bucket(context.aws.s3, context.names)
    context.step("bucket")
    return context.leases.take(context.holder, context.now() + _START, wait_s=wait_s, show=context.show)


def _launch(context: AwsContext, request: LaunchRequest, address: str, lease: Lease) -> Instance:
    lifetime = request.lifetime()
    if context.instances():
        context.show("An instance of an earlier launch is still there; ending it first.")
    unlaunch(context, lease)
    context.step("cleared")
    clear_lock(context, STORE_ROOT)
    ensure_store(context)
    context.step("store")
    lease, variables = _prepare(context, request, lifetime)
    terraform = context.terraform(INSTANCE_ROOT)
    terraform.init()
    context.step("initialised")
    until = f"{lease.until:%Y-%m-%d %H:%M} UTC"
    context.show(f"Starting a {context.settings.instance_type} in {context.names.region} until {until}.")
    _apply(context, terraform, lease, variables)
    context.step("applied")
    found = context.usable(lease.launch_id)
    if found is None:
        raise CloudError("AWS doesn't show the instance that Terraform has started; run this again.")
    _open(context, found, address)
    context.step("opened")
    environment = context.names.environment
    context.sessions.change(environment, lease.launch_id, lambda session: session.launched(found.launched_at))
    context.step("launched")
    return found


def _prepare(context: AwsContext, request: LaunchRequest, lifetime: timedelta) -> tuple[Lease, dict[str, Any]]:
    """Write down the launch before it costs, and send what it needs; returns the lease and Terraform's variables."""
    until = context.now() + lifetime
    launch_id = new_launch_id(context.now())  # in the lease first, so that any later command can end this launch
    lease = context.leases.amend(context.holder, launch_id=launch_id, until=until)
    context.step("named")
    # On record before anything costs: a launch that dies from here on still appears in the bill.
    context.sessions.create(_session(context, request, lease))
    context.step("session")
    bundle = make_bundle(ROOT)
    upload(context.models, bundle)
    context.step("bundle")
    password.make_password(context.aws.ssm, context.names)
    context.step("password")
    return lease, instance_variables(context, lease, lifetime, bundle) | need_network(context).model_dump()


def _apply(context: AwsContext, terraform: Terraform, lease: Lease, variables: dict[str, Any]) -> None:
    """Make the instance; try once more from nothing if AWS has resources that Terraform doesn't know.

    That happens if an answer of AWS was lost, and the provider repeats its request.
    """
    try:
        terraform.apply(variables)
    except RepeatedRequestError as error:
        context.show(f"{error} Ending what is there and starting once more.")
        unlaunch(context, lease.model_copy(update={"launch_id": ""}))
        terraform.apply(variables)


def _session(context: AwsContext, request: LaunchRequest, lease: Lease) -> Session:
    settings = context.settings
    return Session(
        launch_id=lease.launch_id,
        environment=context.names.environment,
        region=context.names.region,
        instance_type=settings.instance_type,
        spot=settings.spot,
        disk_gb=settings.disk_gb,
        owner=lease.holder,
        purpose=request.purpose,
        run=request.run,
        github_run=github_run(context.environ),
        begun_at=context.now(),
        deadline=lease.until,
    )


def _open(context: AwsContext, instance: Instance, address: str) -> None:
    for group in instance.groups:
        access.allow(context.aws.ec2, group, address, context.ports, context.visitor)


def _undo(context: AwsContext) -> None:
    """End the resources of a failed or interrupted start; if that fails as well, tell the user the way to end them."""
    context.show("The start didn't succeed; ending what it has begun.")
    try:
        with unstoppable(context.show):
            tear_down(context)
    except WmsError as second:
        context.show(
            f"It couldn't be ended either: {second} Run devops/scripts/stop-cloud.sh; what was started ends by itself "
            "at its deadline."
        )
