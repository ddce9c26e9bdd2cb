"""Ending the instance: first what costs, then what Terraform knows, then whatever still carries the tag, then proof.

No step needs what an earlier one printed or kept on a disk: names and tags are enough, so any machine with credentials
can end what any other one began, also without Terraform.
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
from wms_ops.storage.shared import Shared
from wms_ops.storage.trouble import aws_errors
from wms_ops.targets.aws import access, password
from wms_ops.targets.aws.inventory import find
from wms_ops.targets.aws.lease import Lease
from wms_ops.targets.aws.locks import GRACE, Lock, break_stale_lock, read_lock
from wms_ops.targets.aws.site import INSTANCE_ROOT, Site
from wms_ops.targets.aws.state_bucket import state_bucket_exists
from wms_ops.targets.aws.sweep import prove_nothing_left, sweep
from wms_ops.targets.aws.variables import instance_variables

_POLL_S: Final = 2.0
_SILENT_S: Final = 45.0
STEPS: Final = (
    *("leased", "closed", "backed up", "terminated", "unlocked", "destroyed", "swept", "proven"),
    *("state reset", "ended", "forgotten", "released"),
)
"""What `Site.step` hears, in this order, each after it has happened."""


def take_down(site: Site, *, force: bool = False, ended_by: EndedBy = EndedBy.DOWN) -> None:
    """End the instance and all that belongs to it, and prove it; nothing happens where nothing is.

    Raises BusyError where it's another holder's, unless `force`; CloudError for what can't be ended, and the errors of
    credentials and network. Run again it goes on. Ctrl-C doesn't cut it off.
    """
    with site.locked(), unstoppable(site.show):
        tear_down(site, force=force, ended_by=ended_by)


def tear_down(site: Site, *, force: bool = False, ended_by: EndedBy = EndedBy.DOWN) -> None:
    """`take_down`, for callers that have seen to interrupts themselves."""
    site.check_account()
    if not state_bucket_exists(site.aws.s3, site.names):
        _sweep(site)  # nobody ever started one here by this code; what carries the tag goes all the same
        site.forget_account()
        return
    lease = site.desk.take(site.holder, site.now() + timedelta(minutes=30), force=force, show=site.show)
    site.step("leased")
    with site.desk.beating(site.holder):
        unlaunch(site, lease, ended_by)
        password.forget(site.aws.ssm, site.names)
        site.step("forgotten")
    site.desk.release(site.holder)
    site.forget_account()
    site.step("released")


def unlaunch(site: Site, lease: Lease, ended_by: EndedBy = EndedBy.DOWN) -> None:
    """Leave nothing of any instance of this environment, its last backup made, and a state and a bill that say so."""
    _close(site)
    _back_up(site, lease)
    _terminate(site)
    clear_lock(site, INSTANCE_ROOT)
    site.step("unlocked")
    failure = _destroy(site)
    site.step("destroyed")
    _sweep(site)
    if failure is not None:
        site.show(f"Terraform couldn't: {failure} Everything was ended without it.")
        _reset_state(site)
    site.step("state reset")
    if lease.launch_id:
        now = site.now()
        site.sessions.change(site.names.environment, lease.launch_id, lambda one: _ended(one, now, ended_by))
    site.step("ended")


def clear_lock(site: Site, root: str) -> None:
    """Take away the lock of a Terraform that was killed, waiting until it's sure to be gone.

    Only the lease's holder gets here, and it runs no Terraform now. Of this machine's own there's nothing to wait for;
    a cancelled job's on another machine may go on for some seconds.
    """
    site.terraform(root).end_orphan()
    key = site.names.state_key(root)

    def left() -> Lock | None:
        while (lock := read_lock(site.state, key)) is not None:
            grace = timedelta(0) if lock.who == own_name() else GRACE
            if break_stale_lock(site.state, key, is_held=False, grace=grace) is None:
                break
            site.show(f"Broke {lock}: its holder is gone.")
        return lock

    def waiting(lock: Lock | None, _: float) -> None:
        site.show(f"Waiting at most {GRACE.total_seconds():.0f} s for {lock}.")

    poll(left, None, until=lambda lock: lock is None, pause_s=_POLL_S, waiting=waiting, every_s=GRACE.total_seconds())


def own_name() -> str:
    """What Terraform writes into a lock that it takes here."""
    return f"{getpass.getuser()}@{platform.node()}"


def _close(site: Site) -> None:
    """Shut the doors: what still arrives would be lost."""
    for instance in site.instances():
        for group in instance.groups:
            access.revoke(site.aws.ec2, group)
    site.step("closed")


def _back_up(site: Site, lease: Lease) -> None:
    """Ask the instance for a last backup; without an answer the newest one, minutes old, has to do."""
    mailbox = replace(site.mailbox(lease.launch_id), dead_s=_SILENT_S)
    if site.usable(lease.launch_id, spare=timedelta(0)) is not None:
        try:
            if mailbox.alive() is not None:  # else it hasn't come so far, and has nothing to lose
                mailbox.backup()
        except WmsError as error:
            site.show(f"The instance makes no backup any more ({error}) The newest one in S3 stays.")
    site.step("backed up")


def _terminate(site: Site) -> None:
    """Stop the bill before anything else that may take time or fail."""
    ids = [one.id for one in site.instances() if one.state != "shutting-down"]
    if ids:
        site.show(f"Ending {', '.join(ids)}.")
        with aws_errors("end the instance"):
            site.aws.ec2.terminate_instances(InstanceIds=ids)
    site.step("terminated")


def _destroy(site: Site) -> WmsError | None:
    """Terraform's own destruction of what its state knows; its failure, which must not keep the sweep from working.

    Whatever it is: if credentials or AWS itself are the reason, the sweep says so, too.
    """
    if not _has_state(site):
        return None
    lease = site.desk.read() or site.desk.take(site.holder, site.now())
    try:
        terraform = site.terraform(INSTANCE_ROOT)
        terraform.init()
        terraform.destroy(instance_variables(site, lease, timedelta(minutes=5), None))
    except WmsError as error:
        return error
    return None


def _sweep(site: Site) -> None:
    clients = site.aws
    things = find(clients.ec2, clients.iam, environment=site.settings.environment)
    if things:
        sweep(clients, things, site.show, site.step)
    site.step("swept")
    prove_nothing_left(clients.ec2, clients.iam, environment=site.settings.environment)
    site.step("proven")


def _ended(session: Session, now: datetime, by: EndedBy) -> Session:
    """An instance that was over before anybody came was ended by its deadline."""
    return session.ended(now, by) if now < session.deadline else session.found_gone(now)


def _has_state(site: Site) -> bool:
    """Whether Terraform's state names anything; where it can't be read Terraform has to say what is wrong with it."""
    value, etag = Shared(site.state, site.names.state_key(INSTANCE_ROOT)).read()
    return etag is not None and not (isinstance(value, dict) and value.get("resources") == [])


def _reset_state(site: Site) -> None:
    """Everything is proven to be gone, so a state that names it is wrong; the bucket keeps the old version."""
    site.state.delete([site.names.state_key(INSTANCE_ROOT)])
