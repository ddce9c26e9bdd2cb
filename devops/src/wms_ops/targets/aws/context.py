"""The context of every module of the cloud at AWS: one environment, its clients, its names, and the present holder."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from wms.files import exclusive_lock, write_atomic
from wms.records import StoredRecord
from wms.regular import read_regular
from wms_ops.base.errors import CloudError
from wms_ops.base.settings import InstanceSettings
from wms_ops.cost.session_store import S3SessionStore
from wms_ops.storage.bucket import Bucket, Shared
from wms_ops.storage.names import Names, holder_of
from wms_ops.targets.aws.bundle import Bundle
from wms_ops.targets.aws.clients import Aws
from wms_ops.targets.aws.inventory import Instance, find_instances
from wms_ops.targets.aws.lease import Lease, LeaseClient
from wms_ops.targets.aws.settings import CloudSettings
from wms_ops.targets.aws.terraform import ROOTS, Backend, Terraform
from wms_ops.targets.host.message_queue import MessageQueue

INSTANCE_ROOT: Final = "instance"
STORE_ROOT: Final = "persistent"


class Used(StoredRecord):
    """The account and region that this folder last started an instance in."""

    account: str
    region: str
    environment: str


@dataclass(frozen=True)
class AwsContext:
    """`folder` takes Terraform's files and logs; `show` hears sentences, `step`, for tests, the name of each step."""

    settings: CloudSettings
    folder: Path
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    show: Callable[[str], None] = field(default=lambda _: None, repr=False)
    step: Callable[[str], None] = field(default=lambda _: None, repr=False)

    @cached_property
    def told(self) -> InstanceSettings:
        """The variables in `environ` about the instance. Raises UsageError."""
        return InstanceSettings.read(self.environ)

    @cached_property
    def aws(self) -> Aws:
        """The boto3 clients."""
        return Aws(self.settings.region)

    @cached_property
    def names(self) -> Names:
        """All names. Raises the errors of missing, expired and unknown credentials."""
        return Names(self.settings.environment, self.aws.account, self.settings.region)

    @cached_property
    def holder(self) -> str:
        """The holder of the lease for this process: a GitHub run or a user's machine."""
        return holder_of(self.environ)

    @cached_property
    def visitor(self) -> str:
        """The owner of the rules for this machine's address: two jobs of one run are two visitors."""
        return f"{self.holder} on {platform.node() or 'a machine'}"

    @property
    def leases(self) -> LeaseClient:
        """The client for the environment's lease."""
        return LeaseClient(Shared(self.state, self.names.lease_key), exists=lambda: bool(self.instances()))

    @property
    def state(self) -> Bucket:
        """The bucket of Terraform's states, leases and sessions."""
        return Bucket(self.names.state_bucket, self.aws.s3)

    @property
    def models(self) -> Bucket:
        """The bucket of MLflow's artifacts, code bundles and the instance's jobs."""
        return Bucket(self.names.mlflow_bucket, self.aws.s3)

    @property
    def ports(self) -> tuple[int, int]:
        """MLflow's port and the service's."""
        return self.settings.mlflow_port, self.settings.service_port

    @property
    def sessions(self) -> S3SessionStore:
        """The record of all sessions, from before their launch to their end: the bill."""
        return S3SessionStore(self.state)

    def queue(self, launch_id: str) -> MessageQueue:
        """The message queue of a launch's instance."""
        return MessageQueue(self.models, launch_id)

    def now(self) -> datetime:
        """The time, UTC, in whole seconds."""
        return datetime.now(UTC).replace(microsecond=0)

    def instances(self) -> list[Instance]:
        """This environment's instances that aren't terminated. Raises the errors of `aws_errors`."""
        return find_instances(self.aws.ec2, self.settings.environment)

    def usable(self, launch_id: str, spare: timedelta = timedelta(minutes=2)) -> Instance | None:
        """The running or starting instance of a launch, unless its deadline is closer than `spare`."""
        now = self.now()
        own = [each for each in self.instances() if each.launch_id == launch_id and each.is_alive and launch_id]
        return next((each for each in own if each.deadline is None or each.deadline > now + spare), None)

    def terraform(self, root: str) -> Terraform:
        """Terraform for one root module, whose state is this environment's."""
        backend = Backend(self.names.state_bucket, self.names.state_key(root), self.names.region, self.path_style)
        work = self.folder.absolute() / self.settings.environment / root
        return Terraform(ROOTS / root, work, backend, self.environ, self.show)

    @property
    def path_style(self) -> bool:
        """Whether S3 requests name the bucket in the path."""
        return self.told.wms_s3_path_style

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time changes the cloud from this folder; the others wait."""
        text = "Another command is changing the cloud from here; waiting for it."
        with exclusive_lock(self.folder / f"{self.settings.environment}.lock", waiting=lambda: self.show(text)):
            yield

    def check_account(self) -> None:
        """Raise CloudError if this folder's instance, which would be left behind, is in another account or region."""
        used = self._used()
        if used is None:
            return
        if used.account != self.names.account:
            raise CloudError(
                f"The cloud of {self.folder} was started in the account {used.account}, but these credentials belong "
                f"to {self.names.account}; take those of {used.account} and run devops/scripts/stop-cloud.sh, or "
                f"delete {self._used_path} if that account is gone."
            )
        if used.region != self.names.region:
            raise CloudError(
                f"The cloud of {self.folder} was started in the region {used.region}, but the settings name "
                f"{self.names.region}; run `AWS_REGION={used.region} devops/scripts/stop-cloud.sh` with `region` taken "
                f"out of infrastructure/terraform/wms.tfvars, or delete {self._used_path} if nothing is there any more."
            )

    def note_account(self) -> None:
        """Record the instance's account and region in the folder."""
        used = Used(account=self.names.account, region=self.names.region, environment=self.names.environment)
        write_atomic(self._used_path, used.model_dump_json(indent=1) + "\n")

    def forget_account(self) -> None:
        """Delete that record, once no instance is left."""
        self._used_path.unlink(missing_ok=True)

    def _used(self) -> Used | None:
        try:
            return Used.model_validate_json(read_regular(self._used_path))
        except (OSError, ValidationError):
            return None  # the record only serves to report a mistake; AWS knows the instances

    @property
    def _used_path(self) -> Path:
        return self.folder / f"{self.settings.environment}.json"


def instance_variables(context: AwsContext, lease: Lease, lifetime: timedelta, bundle: Bundle) -> dict[str, Any]:
    """The variables of Terraform's root `instance`, but for the network's."""
    settings = context.settings
    return {
        "region": context.names.region,
        "environment": context.names.environment,
        "owner": lease.holder,
        "launch_id": lease.launch_id,
        "deadline": lease.until.isoformat(timespec="seconds"),
        "lifetime_minutes": max(5, int(lifetime.total_seconds() // 60)),
        "idle_minutes": settings.idle_minutes,
        "instance_type": settings.instance_type,
        "disk_gb": settings.disk_gb,
        "spot": settings.spot,
        "ami_id": settings.ami_id,
        "bundle_bucket": context.names.mlflow_bucket,
        "bundle_key": bundle.key,
        "bundle_sha256": bundle.sha256,
        "dvc_bucket": context.names.dvc_bucket,
        "mlflow_bucket": context.names.mlflow_bucket,
        "mlflow_port": settings.mlflow_port,
        "service_port": settings.service_port,
    }
