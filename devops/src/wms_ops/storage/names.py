"""The names of all AWS resources: they follow from environment, account and region, so that no name has to be stored.

A name and the tags exist before the resource does. So the teardown, the reaper or a second `up` finds the resources of
a killed run without any record.
"""

from __future__ import annotations

import getpass
import os
import platform
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from wms_ops.base.settings import GithubSettings, InstanceSettings

ENVIRONMENT_TAG: Final = "wms:environment"
PART_TAG: Final = "wms:part"
LAUNCH_TAG: Final = "wms:launch"
DEADLINE_TAG: Final = "wms:deadline"
OWNER_TAG: Final = "wms:owner"
INSTANCE_PART: Final = "instance"
STORE_PART: Final = "store"

ENVIRONMENT: Final = re.compile(r"[a-z][a-z0-9-]{0,19}")
SESSIONS: Final = "sessions"
"""The folder of the session records in the state bucket."""

RUNS: Final = "runs"
"""The folder, in a bucket, of the records of runs that jobs on several machines share."""

_NOT_IN_TAGS: Final = re.compile(r"[^A-Za-z0-9_.:/=+@-]+")


@dataclass(frozen=True)
class Names:
    """All names of one environment in one account and region.

    >>> Names("main", "123456789012", "us-east-1").dvc_url
    's3://wms-main-dvc-123456789012-us-east-1/dvc'
    """

    environment: str
    account: str
    region: str

    @property
    def prefix(self) -> str:
        """The beginning of every resource's name."""
        return f"wms-{self.environment}"

    @property
    def role_prefix(self) -> str:
        """The beginning of the names of roles, profile and budget, which are the account's and not the region's."""
        return f"{self.prefix}-{self.region}"

    @property
    def state_bucket(self) -> str:
        """The bucket of all environments' Terraform states, leases and sessions.

        Python makes the bucket before Terraform can run.
        """
        return f"wms-state-{self.account}-{self.region}"

    @property
    def dvc_bucket(self) -> str:
        """The bucket of the data set and published models."""
        return f"{self.prefix}-dvc-{self.account}-{self.region}"

    @property
    def mlflow_bucket(self) -> str:
        """The bucket of MLflow's artifacts and backups, code bundles, and the instance's jobs."""
        return f"{self.prefix}-mlflow-{self.account}-{self.region}"

    @property
    def dvc_url(self) -> str:
        """The address of the DVC remote."""
        return f"s3://{self.dvc_bucket}/dvc"

    def state_key(self, root: str) -> str:
        """Return the key, in the state bucket, of the state of the Terraform root `root`."""
        return f"{root}/{self.environment}.tfstate"

    def applied_key(self, root: str) -> str:
        """Return the key of the note about the last apply of the Terraform root `root`."""
        return f"{root}/{self.environment}.applied.json"

    @property
    def lease_key(self) -> str:
        """The key of the lease, which names the holder of the environment's instance."""
        return f"lease/{self.environment}.json"

    @property
    def password_parameter(self) -> str:
        """The SSM parameter with MLflow's password."""
        return f"/wms/{self.environment}/mlflow-password"

    @property
    def certificate_parameter(self) -> str:
        """The SSM parameter in which the instance shows MLflow's certificate."""
        return f"/wms/{self.environment}/mlflow-certificate"

    @property
    def boot_parameter(self) -> str:
        """The SSM parameter in which the instance reports its start, step by step."""
        return f"/wms/{self.environment}/boot"


def read_time(text: str) -> datetime | None:
    """Return the time that a tag holds, UTC where the text names no zone; None for unreadable text."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def new_launch_id(now: datetime) -> str:
    """Return a unique name for a launch: its time and a random part."""
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def holder_of(environ: Mapping[str, str]) -> str:
    """Return the user of an instance, fit for a tag: WMS_HOLDER, else the GitHub run, else the user and the machine.

    All jobs of one GitHub run are one holder, so the teardown job may end the instance of an earlier job; a re-run of
    the same workflow run is the same holder, too.
    """
    given, job = InstanceSettings.read(environ).wms_holder, GithubSettings.read(environ)
    if not given and job.github_run_id:
        given = f"github/{job.github_repository or 'repository'}/{job.github_run_id}"
    return _NOT_IN_TAGS.sub("-", given or f"{_user()}@{platform.node() or 'machine'}")[:200]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # no name for this number, as in some containers; no pwd on Windows
        return f"user-{os.getuid()}" if hasattr(os, "getuid") else "user"
