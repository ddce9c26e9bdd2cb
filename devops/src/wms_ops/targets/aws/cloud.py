"""The cloud at AWS: an EC2 instance with MLflow and the service, started by Terraform and ended in every case."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar, Final, Self

from wms.registry.mlflow_variables import CERTIFICATE
from wms_ops.base.console import patient
from wms_ops.base.errors import BusyError, CloudError
from wms_ops.base.outputs import mask
from wms_ops.cost.allowance import allowed_minutes
from wms_ops.cost.prices import Choice
from wms_ops.cost.sessions import Purpose, Session
from wms_ops.machine.environment import QUIET
from wms_ops.machine.password import USER, read_password
from wms_ops.machine.types import CloudState, Endpoints, ModelRelease
from wms_ops.storage.bucket import Bucket
from wms_ops.storage.config import URL_VARIABLE
from wms_ops.storage.names import RUNS
from wms_ops.targets.aws import access
from wms_ops.targets.aws.boot import LIMIT_S, wait_until_up
from wms_ops.targets.aws.certificate import certificate_file, mlflow_answers
from wms_ops.targets.aws.context import AwsContext
from wms_ops.targets.aws.inventory import Instance
from wms_ops.targets.aws.launch import LaunchRequest, bring_up
from wms_ops.targets.aws.settings import read_settings
from wms_ops.targets.aws.store_root import state_bucket_exists
from wms_ops.targets.aws.teardown import take_down
from wms_ops.targets.host.message_queue import MessageQueue

FOLDER: Final = "aws"
"""The name of this target's folder within the loop's."""

_ENDING: Final = ("stopping", "stopped", "shutting-down")


@dataclass(frozen=True)
class AwsCloud:
    """A `Cloud`. `lifetime` is the longest life of an instance; `up` waits `wait_s` for the end of another holder's."""

    name: ClassVar = "aws"
    billed: ClassVar = True
    needs_account: ClassVar = True

    context: AwsContext
    lifetime: timedelta = timedelta(hours=4)
    purpose: Purpose = Purpose.PIPELINE
    run_id: str = ""
    wait_s: float = 0.0
    _passwords: dict[str, str] = field(default_factory=dict, init=False, repr=False)

    def borrowed(self) -> AwsCloud:
        """This cloud: the store always runs, and a borrower ends only its own instance."""
        return self

    def storage_up(self) -> None:
        """Do nothing: S3 always runs, and `up` makes the buckets."""

    def up(self) -> Endpoints:
        """Start the instance unless this holder's runs; its addresses may not answer for some minutes.

        Raises BusyError, CloudError, QuotaError, BudgetError and the errors of credentials and network.
        """
        if self.run_id and (manual := self._by_hand()) is not None:
            raise BusyError(
                f"The instance {manual.id} was started by hand, and a run of the loop ends the one that it has worked "
                "on; end yours first with devops/scripts/stop-cloud.sh."
            )
        # An instance that runs already was paid for by its own launch; the budget is asked before a new one.
        request = LaunchRequest(lambda: timedelta(minutes=self.affordable()), self.purpose, self.run_id, self.wait_s)
        return self._addresses(bring_up(self.context, request))

    def wait(self, limit_s: float = LIMIT_S) -> None:
        """Return once MLflow answers, and show each step of the instance's start. Raises CloudError."""
        found = self._need()
        wait_until_up(self.context, found, self.answers, limit_s=limit_s)
        self._seen(found)

    def down(self) -> None:
        """End every resource that costs money, and prove the end by asking AWS. Raises as `take_down` does.

        A run of the loop leaves the instance that its user has started by hand.
        """
        if self.run_id and (manual := self._by_hand()) is not None:
            self.context.show(f"The instance {manual.id} was started by hand; it stays.")
            return
        take_down(self.context)

    def status(self) -> CloudState:
        """RUNNING once MLflow answers, ABSENT if AWS knows no instance. Raises the errors of credentials."""
        found = self.context.instances()
        alive = [instance for instance in found if instance.is_alive]
        if not alive:
            return CloudState.STOPPING if any(instance.state in _ENDING for instance in found) else CloudState.ABSENT
        return CloudState.RUNNING if self._answers(alive[0]) else CloudState.STARTING

    def endpoints(self) -> Endpoints | None:
        """The instance's addresses; None without a running instance."""
        found = self._instance()
        if found is None or found.address is None:
            return None
        alive = self.queue(found).alive()
        return self._addresses(found, served=alive is not None and alive.version is not None)

    def environ(self) -> Mapping[str, str]:
        """Variables that lead DVC and MLflow's clients to AWS; they hold MLflow's password, not AWS's keys.

        Raises CloudError if an instance runs but its password is gone or its certificate isn't there yet.
        """
        names, found = self.context.names, self._instance()
        lasting = {URL_VARIABLE: names.dvc_url, "AWS_REGION": names.region, "AWS_DEFAULT_REGION": names.region, **QUIET}
        if found is None or found.address is None:
            return lasting
        return lasting | {
            "MLFLOW_TRACKING_URI": self._addresses(found).mlflow,
            "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",  # the door is closed to addresses that lead past it
            "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
            "MLFLOW_TRACKING_USERNAME": USER,
            "MLFLOW_TRACKING_PASSWORD": self._password(found.launch_id),
            CERTIFICATE: str(certificate_file(self.context, found.launch_id)),
        }

    def run(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        log: Path,
        environ: Mapping[str, str] | None = None,
        show: Callable[[str], None] = lambda _: None,
    ) -> int:
        """Run a command on the instance with the contents of `folder`; changed files come back.

        Raises CloudError without an instance, or if the instance stops answering.
        """
        # On the instance MLflow is the host's own, but only the client knows the data set's address.
        given = {URL_VARIABLE: self.context.names.dvc_url, **(environ or {})}
        found = self._need()
        code = self.queue(found).run(command, folder=folder, log=log, environ=given, show=show)
        self._seen(found)
        return code

    def deploy(self, release: ModelRelease) -> str:
        """Serve this release once healthy; returns its address. Raises CloudError, and the old release is kept."""
        self.queue(self._need()).deploy(release)
        return str(self._addresses(self._need(), served=True).service)

    def roll_back(self) -> int | None:
        """Serve the release from before the newest `deploy`. Raises CloudError."""
        return self.queue(self._need()).roll_back()

    def running(self) -> Instance | None:
        """This holder's instance, which `up` would continue with."""
        if not state_bucket_exists(self.context.aws.s3, self.context.names):
            return None
        lease = self.context.leases.read()
        is_own = lease is not None and lease.holder == self.context.holder
        return self.context.usable(lease.launch_id) if lease is not None and is_own else None

    def records(self) -> tuple[Bucket, str]:
        """The state bucket, where people who may only bring photos can't write."""
        return self.context.state, f"{RUNS}/{self.context.names.environment}/"

    def for_run(self, run_id: str) -> Self:
        """The same target for a run of the loop, whose id goes into the record of its session."""
        return replace(self, run_id=run_id)

    def answers(self) -> bool:
        """Whether MLflow answers a call of its API."""
        found = self._instance()
        return found is not None and self._answers(found)

    def allow(self, who: str) -> str:
        """Open the ports to the caller's address; returns the address. `revoke` with the same `who` closes them."""
        address = access.caller_address(self.context.environ)
        found = self._need()
        if not found.groups:
            raise CloudError(f"The instance {found.id} has no security group to open; run stop-cloud.sh, then deploy.")
        for group in found.groups:
            access.allow(self.context.aws.ec2, group, address, self.context.ports, who)
        return address

    def revoke(self, who: str) -> int:
        """Remove the rules that `who` added; returns their number."""
        return sum(
            access.revoke(self.context.aws.ec2, group, who) for one in self.context.instances() for group in one.groups
        )

    def choice(self) -> Choice:
        """The kind of instance that `up` starts, and its longest life."""
        settings = self.context.settings
        return Choice(
            region=settings.region,
            instance_type=settings.instance_type,
            spot=settings.spot,
            disk_gb=settings.disk_gb,
            minutes=max(1, round(self.lifetime.total_seconds() / 60)),
        )

    def sessions(self, since: datetime | None = None) -> Sequence[Session]:
        """This environment's sessions on record. Raises the errors of credentials and network."""
        names = self.context.names
        if not state_bucket_exists(self.context.aws.s3, names):
            return ()
        return self.context.sessions.sessions(names.environment, since)

    def note(self, change: Callable[[Session], Session], since: datetime) -> None:
        """Change the record of this run's sessions. Raises the errors of credentials and network."""
        for session in self.sessions(since):
            if self.run_id and session.run == self.run_id:
                self.context.sessions.change(session.environment, session.launch_id, change)

    def affordable(self) -> int:
        """The minutes that the instance may live: those chosen, or fewer if WMS_BUDGET_USD buys no more.

        Raises BudgetError if the budget buys next to none, or if WMS_BUDGET_MONTH_USD may be exceeded; UsageError.
        """
        return allowed_minutes(self.choice(), self.sessions, self.context.environ, self.context.now())

    def queue(self, instance: Instance) -> MessageQueue:
        """The message queue of an instance."""
        return self.context.queue(instance.launch_id)

    def _seen(self, found: Instance) -> None:
        """Record that the instance has answered: an answer proves, as a launch does, that the instance costs money."""
        now = self.context.now()
        self.context.sessions.change(self.context.names.environment, found.launch_id, lambda session: session.seen(now))

    def _instance(self) -> Instance | None:
        return next((instance for instance in self.context.instances() if instance.is_alive), None)

    def _by_hand(self) -> Instance | None:
        """This holder's instance, if started by deploy-to-cloud."""
        found = self.running()
        record = self.context.sessions.read(self.context.names.environment, found.launch_id) if found else None
        return found if record is not None and record.purpose is Purpose.MANUAL else None

    def _need(self) -> Instance:
        found = self._instance()
        if found is None:
            raise CloudError("No instance runs at AWS; start one with devops/scripts/deploy-to-cloud.sh.")
        return found

    def _addresses(self, found: Instance, *, served: bool = False) -> Endpoints:
        host = self.context.told.wms_instance_address or found.address
        if not host:
            raise CloudError(
                f"The instance {found.id} has no public address; end it with devops/scripts/stop-cloud.sh."
            )
        mlflow, service = self.context.ports
        return Endpoints(f"https://{host}:{mlflow}", f"http://{host}:{service}" if served else None)

    def _answers(self, found: Instance) -> bool:
        if not (self.context.told.wms_instance_address or found.address):
            return False  # AWS hasn't assigned an address yet
        return mlflow_answers(self.context, found.launch_id, self._addresses(found).mlflow)

    def _password(self, launch_id: str) -> str:
        if launch_id not in self._passwords:
            parameter = self.context.names.password_parameter
            self._passwords[launch_id] = read_password(parameter, ssm=self.context.aws.ssm)
            mask(self._passwords[launch_id])
        return self._passwords[launch_id]


def open_aws(
    folder: Path, show: Callable[[str], None] = print, *, environ: Mapping[str, str] | None = None
) -> AwsCloud:
    """The cloud of this clone's settings; no request is sent, no instance starts. Raises ConfigError, UsageError."""
    given = os.environ if environ is None else environ
    settings = read_settings(environ=given)
    context = AwsContext(settings, folder, given, patient(show))
    return AwsCloud(context, timedelta(hours=settings.hours), wait_s=60 * context.told.wms_wait_minutes)


open_target = open_aws  # the name that the factory imports
