"""boto3 clients for one region, and the account behind the credentials."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from wms_ops.storage.client import PATIENT_ATTEMPTS, account_of, make_client, new_session


@dataclass(frozen=True)
class Aws:
    """boto3 clients, made at their first use; making a client opens no connection.

    Each raises the errors of `aws_errors` for an unknown profile or region.
    """

    region: str

    @cached_property
    def ec2(self) -> Any:
        """EC2 and VPC."""
        return self._client("ec2")

    @cached_property
    def s3(self) -> Any:
        """S3."""
        return self._client("s3")

    @cached_property
    def iam(self) -> Any:
        """IAM."""
        return self._client("iam")

    @cached_property
    def ecr(self) -> Any:
        """The registry of images."""
        return self._client("ecr")

    @cached_property
    def ssm(self) -> Any:
        """Systems Manager."""
        return self._client("ssm")

    @cached_property
    def account(self) -> str:
        """The account's number. Raises the errors of missing, expired and unknown credentials."""
        return account_of(self.region, self._session)

    @cached_property
    def _session(self) -> Any:
        return new_session()

    def _client(self, service: str) -> Any:
        return make_client(service, self.region, attempts=PATIENT_ATTEMPTS, session=self._session)
