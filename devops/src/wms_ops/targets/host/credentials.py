"""AWS credentials for MLflow alone: the role that may touch `mlflow/*` of MLflow's bucket, renewed by the agent.

MLflow's process can't reach the metadata service, which has the keys of the instance's own role. An account where no
role can be made (AWS Academy) may let the instance take its own role with fewer rights; if not, MLflow gets the
instance's own keys, and the sign of life says so.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from wms.json_text import to_json
from wms_ops.base.errors import AccessDeniedError, CloudError
from wms_ops.base.poll import poll
from wms_ops.storage.client import PATIENT_ATTEMPTS, make_client
from wms_ops.storage.trouble import aws_errors
from wms_ops.targets.host.units import User, show_file

Rights = Literal["role", "narrowed", "instance"]
"""The rights behind MLflow's keys: those of its own role, the instance's narrowed to `mlflow/*`, or the instance's."""

RENEWED_S: Final = 600.0
_LIFE_S: Final = 3600
_NEW_ROLE_S: Final = 60.0
_FILE: Final = "credentials.json"
_CONFIG: Final = "aws-config"


@dataclass
class MlflowKeys:
    """Keys in `folder`, which `user` reads; `role` is the name of MLflow's own role, if the account has one."""

    folder: Path
    user: User
    bucket: str
    region: str
    role: str | None
    session: str
    rights: Rights | None = None
    _renewed: float = field(default=0.0, repr=False)

    def renew(self) -> None:
        """Write new keys, for an hour. Raises CloudError if MLflow's own role can't be taken, and AWS's errors."""
        keys, self.rights = self._take()
        show_file(self.folder / _FILE, to_json({"Version": 1, **keys}), self.user)
        command = f"credential_process = /bin/cat {self.folder / _FILE}"
        show_file(self.folder / _CONFIG, f"[default]\nregion = {self.region}\n{command}\n", self.user)
        self._renewed = time.monotonic()

    def renew_if_due(self) -> None:
        """Renew the keys every ten minutes, so that a failure leaves many more tries. Raises as `renew` does."""
        if time.monotonic() - self._renewed >= RENEWED_S:
            self.renew()

    def environ(self) -> dict[str, str]:
        """The variables by which an AWS client finds these keys, and no others."""
        config = str(self.folder / _CONFIG)
        return {
            "AWS_CONFIG_FILE": config,
            "AWS_SHARED_CREDENTIALS_FILE": config,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
        }

    def _take(self) -> tuple[dict[str, str], Rights]:
        sts = make_client("sts", self.region, attempts=PATIENT_ATTEMPTS)
        with aws_errors("ask who this instance is"):
            own = sts.get_caller_identity()
        take = functools.partial(_assumed, sts, self.session)
        if self.role is not None:
            arn = f"arn:{_partition(own['Arn'])}:iam::{own['Account']}:role/{self.role}"
            # A role that was made a moment ago can't be taken yet.
            keys = poll(lambda: take(arn), _NEW_ROLE_S, pause_s=2.0)
            if keys is None:
                raise CloudError(f"The instance may not take the role {self.role}; look at its trust policy.")
            return keys, "role"
        if (name := _role_of(own["Arn"])) is not None:
            arn = f"arn:{_partition(own['Arn'])}:iam::{own['Account']}:role/{name}"
            keys = take(arn, Policy=to_json(policy(self.bucket, _partition(arn))))
            if keys is not None:
                return keys, "narrowed"
        return _instances_own(), "instance"


def policy(bucket: str, partition: str = "aws") -> dict[str, Any]:
    """What MLflow may do: read, write and list its own files, as `aws_iam_role_policy.mlflow` in iam.tf has it."""
    arn = f"arn:{partition}:s3:::{bucket}"
    files = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    only = {"StringLike": {"s3:prefix": ["mlflow/*"]}}
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": "Files", "Effect": "Allow", "Action": files, "Resource": [f"{arn}/mlflow/*"]},
            {"Sid": "List", "Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [arn], "Condition": only},
        ],
    }


def _assumed(sts: Any, session: str, arn: str, **more: str) -> dict[str, str] | None:
    """Keys of a role for an hour; None if the role may not be taken."""
    try:
        with aws_errors(f"take the role {arn}"):
            found = sts.assume_role(RoleArn=arn, RoleSessionName=session, DurationSeconds=_LIFE_S, **more)
    except AccessDeniedError:
        return None
    keys: Mapping[str, Any] = found["Credentials"]
    plain = {name: str(keys[name]) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")}
    return {**plain, "Expiration": keys["Expiration"].astimezone(UTC).isoformat(timespec="seconds")}


def _instances_own() -> dict[str, str]:
    """The instance's own keys. Raises CloudError without any."""
    import boto3

    found = boto3.Session().get_credentials()
    if found is None:
        raise CloudError("This instance has no credentials of AWS; give it an instance profile.")
    keys = found.get_frozen_credentials()
    token = {"SessionToken": str(keys.token)} if keys.token else {}
    # AWS replaces an instance's keys before their end, which isn't told here: MLflow reads the file again and again.
    until = datetime.now(UTC) + timedelta(seconds=3 * RENEWED_S)
    return {
        **{"AccessKeyId": str(keys.access_key), "SecretAccessKey": str(keys.secret_key), **token},
        "Expiration": until.isoformat(timespec="seconds"),
    }


def _partition(arn: str) -> str:
    return arn.split(":")[1]


def _role_of(arn: str) -> str | None:
    """The name of an assumed role; None for another identity.

    >>> _role_of("arn:aws:sts::123456789012:assumed-role/LabRole/i-0123")
    'LabRole'
    """
    kind, _, rest = arn.split(":", 5)[5].partition("/")
    return rest.split("/")[0] if kind == "assumed-role" else None
