"""What everything at AWS is called: names follow from environment, account and region, so that nobody has to remember.

A name and the tags exist before the thing itself does. So whoever comes after a kill - the teardown, the reaper, a
second `up` - finds what was begun without any record of it.
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

ENVIRONMENT_TAG: Final = "wms:environment"
PART_TAG: Final = "wms:part"
LAUNCH_TAG: Final = "wms:launch"
DEADLINE_TAG: Final = "wms:deadline"
OWNER_TAG: Final = "wms:owner"
INSTANCE_PART: Final = "instance"
STORE_PART: Final = "store"

ENVIRONMENT: Final = re.compile(r"[a-z][a-z0-9-]{0,19}")
SESSIONS: Final = "sessions"
"""The folder of the bill in the state bucket."""

HOLDER: Final = "WMS_HOLDER"
_NOT_IN_TAGS: Final = re.compile(r"[^A-Za-z0-9_.:/=+@-]+")


@dataclass(frozen=True)
class Names:
    """All names of one environment in one account and region."""

    environment: str
    account: str
    region: str

    @property
    def prefix(self) -> str:
        """What every resource's name begins with."""
        return f"wms-{self.environment}"

    @property
    def state_bucket(self) -> str:
        """Terraform's states, leases and sessions, of all environments; made by Python before Terraform can run."""
        return f"wms-state-{self.account}-{self.region}"

    @property
    def dvc_bucket(self) -> str:
        """The data set and published models."""
        return f"{self.prefix}-dvc-{self.account}-{self.region}"

    @property
    def mlflow_bucket(self) -> str:
        """MLflow's artifacts and backups, code bundles, the instance's jobs."""
        return f"{self.prefix}-mlflow-{self.account}-{self.region}"

    @property
    def dvc_url(self) -> str:
        """The DVC remote."""
        return f"s3://{self.dvc_bucket}/dvc"

    def state_key(self, root: str) -> str:
        """Where the state of the Terraform root `root` lies in the state bucket."""
        return f"{root}/{self.environment}.tfstate"

    def applied_key(self, root: str) -> str:
        """Where it's noted what was applied of the Terraform root `root` last."""
        return f"{root}/{self.environment}.applied.json"

    @property
    def lease_key(self) -> str:
        """Who uses the environment's instance."""
        return f"lease/{self.environment}.json"

    @property
    def password_parameter(self) -> str:
        """SSM parameter with MLflow's password."""
        return f"/wms/{self.environment}/mlflow-password"

    @property
    def boot_parameter(self) -> str:
        """SSM parameter in which the instance reports its start, step by step."""
        return f"/wms/{self.environment}/boot"


def read_time(text: str) -> datetime | None:
    """The time that a tag holds, UTC where it names no zone; None where it can't be read."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def new_launch_id(now: datetime) -> str:
    """A name for a launch that nobody else gives: its time, and something random."""
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def holder_of(environ: Mapping[str, str]) -> str:
    """Who is at work: WMS_HOLDER, else the GitHub run, else the user and the machine. Fit for a tag's value.

    All jobs of one GitHub run are one holder, so the teardown job may end what the job before it began; a run that
    is started again is the same holder, too.
    """
    given = environ.get(HOLDER, "")
    if not given and (run := environ.get("GITHUB_RUN_ID")):
        given = f"github/{environ.get('GITHUB_REPOSITORY', 'repository')}/{run}"
    return _NOT_IN_TAGS.sub("-", given or f"{_user()}@{platform.node() or 'machine'}")[:200]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name for this number, as in some containers
        return f"user-{os.getuid()}" if hasattr(os, "getuid") else "user"
