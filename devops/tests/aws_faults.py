"""AWS answering a client otherwise than moto would: refusals with the real answers' form, from a given request on."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import boto3
from aws_server import REGION, AwsServer
from botocore.awsrequest import AWSResponse
from botocore.config import Config

# True if the request with this number (from 0) and operation is to be refused.
Wanted = Callable[[int, str], bool]


class Faults:
    """Clients for EC2 and IAM that refuse what `wanted` says with `code`; they don't repeat requests by themselves."""

    def __init__(self, aws: AwsServer, wanted: Wanted, code: str, status: int = 400) -> None:
        self.wanted, self.code, self.status = wanted, code, status
        self.asked: list[str] = []
        self.refused = 0
        config = Config(retries={"mode": "standard", "total_max_attempts": 1})
        keys = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "x", "region_name": REGION}
        made = {name: boto3.client(name, endpoint_url=aws.endpoint, config=config, **keys) for name in ("ec2", "iam")}
        for client in made.values():
            client.meta.events.register("before-send", self._answer)
        self.clients = SimpleNamespace(**made)

    def _answer(self, request: Any, event_name: str, **_: Any) -> AWSResponse | None:
        operation = event_name.rsplit(".", 1)[-1]
        number = len(self.asked)
        self.asked.append(operation)
        if not self.wanted(number, operation):
            return None
        self.refused += 1
        error = f"<Error><Type>Sender</Type><Code>{self.code}</Code><Message>Refused for a test</Message></Error>"
        is_iam = ".iam." in event_name
        body = f"<ErrorResponse>{error}</ErrorResponse>" if is_iam else f"<Response><Errors>{error}</Errors></Response>"
        return AWSResponse(request.url, self.status, {}, _Raw(body.encode()))


class _Raw:
    def __init__(self, body: bytes) -> None:
        self.body = body

    def stream(self, *_: Any, **__: Any) -> Any:
        yield self.body
