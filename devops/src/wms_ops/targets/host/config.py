"""An instance's settings from its user data, and the intervals of its agent."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from wms.regular import read_regular
from wms_ops.base.errors import CloudError
from wms_ops.base.settings import InstanceSettings
from wms_ops.machine.answers import direct

PACE: Final = "WMS_HOST_PACE"
_METADATA: Final = "http://169.254.169.254"
_METADATA_S: Final = 5.0


class HostConfig(BaseModel):
    """/etc/wms/host.json, as the instance's user data writes it; it holds no secret."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    environment: str
    region: str
    launch_id: str
    deadline: AwareDatetime
    idle_minutes: float = Field(ge=0)
    mlflow_bucket: str
    dvc_bucket: str
    mlflow_port: int = Field(default=5000, gt=0, lt=65536)
    service_port: int = Field(default=8000, gt=0, lt=65536)
    mlflow_role: str | None = None
    """The role whose keys MLflow gets; none where no role can be made."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file. Raises CloudError with the first field that is wrong."""
        try:
            return cls.model_validate_json(read_regular(path))
        except OSError as error:
            raise CloudError(f"{path} can't be read: {error.strerror}; the instance's user data writes it.") from error
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"])) or "its JSON"
            raise CloudError(f"{path}, {field}: {first['msg']}; correct it in the instance's user data.") from error

    @property
    def password_parameter(self) -> str:
        """The SSM parameter that holds MLflow's password."""
        return f"/wms/{self.environment}/mlflow-password"

    @property
    def certificate_parameter(self) -> str:
        """The SSM parameter in which MLflow's certificate is shown."""
        return f"/wms/{self.environment}/mlflow-certificate"

    @property
    def deadline_s(self) -> float:
        """The deadline in seconds since 1970."""
        deadline: datetime = self.deadline
        return deadline.timestamp()


class Pace(BaseModel):
    """How often the agent polls and acts, in seconds. WMS_HOST_PACE, a JSON object, changes the values for tests.

    Polling for jobs every 3 s and a sign of life every 10 s cost 0.008 USD of S3 requests an hour.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    poll_s: float = Field(default=3.0, gt=0)
    alive_s: float = Field(default=10.0, gt=0)
    backup_s: float = Field(default=300.0, gt=0)
    margin_s: float = Field(default=240.0, ge=0)
    """How long before the deadline the agent makes the last backup."""
    minute_s: float = Field(default=60.0, gt=0)
    bind: str = "0.0.0.0"  # noqa: S104 # nosec B104 - the security group decides who reaches the ports
    door_user: int | str = "haproxy"
    mlflow_user: int | str = "wms-mlflow"

    @classmethod
    def of(cls, environ: Mapping[str, str] | None = None) -> Self:
        """The pace that `environ`, by default the process's environment, names. Raises CloudError."""
        try:
            return cls.model_validate_json(InstanceSettings.read(environ).wms_host_pace)
        except ValidationError as error:
            raise CloudError(f"{PACE} is wrong: {error.errors()[0]['msg']}; unset it.") from error


def public_address() -> str | None:
    """The instance's public IPv4 address, from its metadata service (IMDSv2); None without a public address."""
    base = (InstanceSettings.read().aws_ec2_metadata_service_endpoint or _METADATA).rstrip("/")
    try:
        lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        token = _fetch(urllib.request.Request(f"{base}/latest/api/token", method="PUT", headers=lifetime))  # noqa: S310
        headers = {"X-aws-ec2-metadata-token": token}
        return _fetch(urllib.request.Request(f"{base}/latest/meta-data/public-ipv4", headers=headers)) or None  # noqa: S310
    except OSError:
        return None


def _fetch(request: urllib.request.Request) -> str:
    with direct.open(request, timeout=_METADATA_S) as answer:
        return str(answer.read().decode().strip())
