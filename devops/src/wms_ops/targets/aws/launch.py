"""Starting the instance: each name is written down before what it names exists; a failure ends what it began."""

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
from wms_ops.targets.aws.instances import Instance
from wms_ops.targets.aws.lease import Lease
from wms_ops.targets.aws.site import INSTANCE_ROOT, STORE_ROOT, Site
from wms_ops.targets.aws.state_bucket import ensure_state_bucket
from wms_ops.targets.aws.store_root import ensure_store
from wms_ops.targets.aws.teardown import clear_lock, tear_down, unlaunch
from wms_ops.targets.aws.terraform import Terraform, require_terraform
from wms_ops.targets.aws.variables import instance_variables

_START: Final = timedelta(minutes=30)
STEPS: Final = (
    *("bucket", "leased", "store", "cleared", "named", "session", "bundle", "password"),
    *("initialised", "applied", "opened", "launched"),
)
"""What `Site.step` hears, in this order, each after it has happened."""


@dataclass(frozen=True)
class Wish:
    """What is to be started: how long it may live at most, what for, and how long to wait for another's instance.

    `lifetime` is asked once nothing runs; it raises what forbids the start.
    """

    lifetime: Callable[[], timedelta]
    purpose: Purpose = Purpose.PIPELINE
    run: str = ""
    wait_s: float = 0.0


def bring_up(site: Site, wish: Wish) -> Instance:
    """Start the instance, or return the one that this holder has. Safe to repeat and to kill anywhere.

    Raises BusyError where somebody else has one, CloudError, QuotaError and the errors of credentials and network;
    what was begun is ended then.
    """
    with site.locked():
        return _bring_up(site, wish)


def make_store(site: Site) -> bool:
    """Make what outlives every instance, the buckets and the image repository; False where it was all there.

    Raises as `bring_up` does.
    """
    with site.locked():
        lease = _take(site)
        with site.desk.beating(site.holder):
            clear_lock(site, STORE_ROOT)
            made = ensure_store(site)
        if not lease.launch_id:
            site.desk.release(site.holder)
        return made


def _take(site: Site, wait_s: float = 0.0) -> Lease:
    """The lease, only for the time of the start; the instance's own deadline comes with its name."""
    require_terraform(site.environ)
    site.check_account()
    ensure_state_bucket(site.aws.s3, site.names)
    site.step("bucket")
    return site.desk.take(site.holder, site.now() + _START, wait_s=wait_s, show=site.show)


def _bring_up(site: Site, wish: Wish) -> Instance:
    address = access.caller_address(site.environ)
    lease = _take(site, wish.wait_s)
    site.note_account()
    site.step("leased")
    with site.desk.beating(site.holder):
        there = site.usable(lease.launch_id)
        if there is not None:
            _open(site, there, address)
            site.show(f"The instance {there.id} runs already, until {there.deadline:%H:%M} UTC.")
            return there
        with stoppable():
            try:
                return _launch(site, wish, address, lease)
            except BaseException:
                _undo(site)
                raise


def _launch(site: Site, wish: Wish, address: str, lease: Lease) -> Instance:
    lifetime = wish.lifetime()
    clear_lock(site, STORE_ROOT)
    ensure_store(site)
    site.step("store")
    if site.instances():
        site.show("An instance of an earlier launch is still there; ending it first.")
    unlaunch(site, lease)
    site.step("cleared")
    until = site.now() + lifetime
    launch_id = new_launch_id(site.now())
    lease = site.desk.amend(site.holder, launch_id=launch_id, until=until)
    site.step("named")
    site.sessions.create(_session(site, wish, lease))
    site.step("session")
    bundle = make_bundle(ROOT)
    upload(site.models, bundle)
    site.step("bundle")
    password.make_password(site.aws.ssm, site.names)
    site.step("password")
    terraform = site.terraform(INSTANCE_ROOT)
    terraform.init()
    site.step("initialised")
    site.show(f"Starting a {site.settings.instance_type} in {site.names.region} until {until:%Y-%m-%d %H:%M} UTC.")
    _apply(site, terraform, lease, instance_variables(site, lease, lifetime, bundle))
    site.step("applied")
    found = site.usable(launch_id)
    if found is None:
        raise CloudError("AWS doesn't show the instance that Terraform has started; run this again.")
    _open(site, found, address)
    site.step("opened")
    site.sessions.change(site.names.environment, launch_id, lambda one: one.launched(found.launched_at))
    site.step("launched")
    return found


def _apply(site: Site, terraform: Terraform, lease: Lease, variables: dict[str, Any]) -> None:
    """Make the instance; once more from nothing if AWS has made what Terraform doesn't know.

    That is so where an answer of AWS's was lost. The provider asks again by itself and is told that the role or the
    route is there already; applied again on top of it, it would be told the same.
    """
    try:
        terraform.apply(variables)
    except RepeatedRequestError as error:
        site.show(f"{error} Ending what is there and starting once more.")
        unlaunch(site, lease.model_copy(update={"launch_id": ""}))
        terraform.apply(variables)


def _session(site: Site, wish: Wish, lease: Lease) -> Session:
    settings = site.settings
    return Session(
        launch_id=lease.launch_id,
        environment=site.names.environment,
        region=site.names.region,
        instance_type=settings.instance_type,
        spot=settings.spot,
        disk_gb=settings.disk_gb,
        owner=lease.holder,
        purpose=wish.purpose,
        run=wish.run,
        github_run=github_run(site.environ),
        begun_at=site.now(),
        deadline=lease.until,
    )


def _open(site: Site, instance: Instance, address: str) -> None:
    for group in instance.groups:
        access.allow(site.aws.ec2, group, address, site.ports, site.visitor)


def _undo(site: Site) -> None:
    """End what a failed or interrupted start has begun; if that fails as well, say what ends it all the same."""
    site.show("The start didn't succeed; ending what it has begun.")
    try:
        with unstoppable(site.show):
            tear_down(site)
    except WmsError as second:
        site.show(
            f"It couldn't be ended either: {second} Run devops/scripts/stop-cloud.sh; what was started ends by itself "
            "at its deadline."
        )
