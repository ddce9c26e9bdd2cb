"""boto3's clients for one region, and whose account this is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from wms_ops.targets.aws.trouble import aws_errors

ATTEMPTS: Final = 8
"""For each request; botocore waits longer after each that is throttled, 20 s at the most."""

FIRST_ATTEMPTS: Final = 4
"""For the very first question: without a network nobody should wait a minute to be told so."""


@dataclass(frozen=True)
class Aws:
    """Clients are made when they're first used; none opens a connection by being made."""

    region: str
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def client(self, service: str) -> Any:
        """A client for a service. Raises what `aws_errors` does for a profile or a region that doesn't exist."""
        made = self._made
        if service not in made:
            from botocore.config import Config

            attempts = FIRST_ATTEMPTS if service == "sts" else ATTEMPTS
            retries = {"mode": "standard", "total_max_attempts": attempts}
            config = Config(connect_timeout=5, read_timeout=30, retries=retries, user_agent_extra="wms")
            with aws_errors("make a client"):
                made[service] = self._session.client(service, region_name=self.region, config=config)
        return made[service]

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
        with aws_errors("ask AWS whose credentials these are"):
            return str(self.client("sts").get_caller_identity()["Account"])

    @cached_property
    def _session(self) -> Any:
        import boto3

        with aws_errors("read the AWS configuration"):
            return boto3.session.Session(region_name=self.region)

    @cached_property
    def _made(self) -> dict[str, Any]:
        return {}
