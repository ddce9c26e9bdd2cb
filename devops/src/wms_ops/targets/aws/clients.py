"""boto3 clients for one region, and the account behind the credentials."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from wms_ops.storage.client import PATIENT_ATTEMPTS, account_of, make_client, new_session


@dataclass(frozen=True)
class Aws:
    """boto3 clients, made at their first use; making a client opens no connection."""

    region: str

    def client(self, service: str) -> Any:
        """A client for a service. Raises the errors of `aws_errors` for an unknown profile or region."""
        if service not in self._made:
            self._made[service] = make_client(service, self.region, attempts=PATIENT_ATTEMPTS, session=self._session)
        return self._made[service]

    @property
    def ec2(self) -> Any:
        """EC2 and VPC."""
        return self.client("ec2")

    @property
    def s3(self) -> Any:
        """S3."""
        return self.client("s3")

    @property
    def iam(self) -> Any:
        """IAM."""
        return self.client("iam")

    @property
    def ssm(self) -> Any:
        """Systems Manager."""
        return self.client("ssm")

    @cached_property
    def account(self) -> str:
        """The account's number. Raises the errors of missing, expired and unknown credentials."""
        return account_of(self.region, self._session)

    @cached_property
    def _session(self) -> Any:
        return new_session()

    @cached_property
    def _made(self) -> dict[str, Any]:
        return {}
