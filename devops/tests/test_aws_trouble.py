"""Whatever AWS refuses becomes one sentence with its remedy: as boto3 raises it, and as Terraform prints it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from botocore import exceptions
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from wms.errors import WmsError
from wms_ops.base.errors import (
    AccessDeniedError,
    BucketNotFoundError,
    ClockSkewError,
    CloudError,
    CredentialsExpiredError,
    CredentialsMissingError,
    QuotaError,
    RepeatedRequestError,
    StoreUnreachableError,
)
from wms_ops.storage.trouble import aws_errors, is_gone
from wms_ops.targets.aws.trouble import explain

BY_CODE: dict[str, tuple[type[WmsError], str]] = {
    "ExpiredToken": (CredentialsExpiredError, "Start Lab, AWS Details, Show"),
    "ExpiredTokenException": (CredentialsExpiredError, "~/.aws/credentials"),
    "RequestExpired": (CredentialsExpiredError, "~/.aws/credentials"),
    "InvalidClientTokenId": (AccessDeniedError, "access key"),
    "InvalidAccessKeyId": (AccessDeniedError, "access key"),
    "AuthFailure": (AccessDeniedError, "check the region"),
    "UnauthorizedOperation": (AccessDeniedError, "lack the rights"),
    "AccessDenied": (AccessDeniedError, "AWS_PROFILE"),
    "RequestTimeTooSkewed": (ClockSkewError, "set-ntp"),
    "NoSuchBucket": (BucketNotFoundError, "no such bucket"),
    "BucketAlreadyExists": (CloudError, "another environment"),
    "RequestLimitExceeded": (StoreUnreachableError, "in a minute"),
    "Throttling": (StoreUnreachableError, "in a minute"),
    "Unavailable": (StoreUnreachableError, "in a minute"),
    "VcpuLimitExceeded": (QuotaError, "Service Quotas"),
    "InstanceLimitExceeded": (QuotaError, "Service Quotas"),
    "MaxSpotInstanceCountExceeded": (QuotaError, "instance_type"),
    "VpcLimitExceeded": (QuotaError, "Service Quotas"),
    "AddressLimitExceeded": (QuotaError, "Service Quotas"),
    "TooManyBuckets": (QuotaError, "Service Quotas"),
    "InsufficientInstanceCapacity": (QuotaError, "run it again later, or choose another instance_type"),
    "InsufficientHostCapacity": (QuotaError, "run it again later"),
    "SpotMaxPriceTooLow": (QuotaError, "another `spot`"),
    "Unsupported": (QuotaError, "choose another instance_type or region"),
    "PendingVerification": (CloudError, "run it again after AWS's e-mail"),
    "Blocked": (AccessDeniedError, "AWS has blocked the account (Blocked: No; Really not); its owner must open a case"),
    "AccountProblem": (AccessDeniedError, "AWS Support"),
    "OptInRequired": (CloudError, "AWS_REGION"),
    "InvalidRegion": (CloudError, "AWS_REGION"),
    "RouteAlreadyExists": (RepeatedRequestError, "RouteAlreadyExists: No"),
    "EntityAlreadyExists": (RepeatedRequestError, "an answer is lost"),
    "InvalidPermission.NotFound": (RepeatedRequestError, "; run it again"),
    "InvalidVpcID.NotFound": (CloudError, "then run it again"),
    "InvalidParameterValue": (CloudError, "InvalidParameterValue: No"),
}
BY_EXCEPTION: list[tuple[Exception, type[WmsError], str]] = [
    (exceptions.NoCredentialsError(), CredentialsMissingError, "Start Lab"),
    (exceptions.PartialCredentialsError(provider="env", cred_var="aws_secret_access_key"), CredentialsMissingError, ""),
    (exceptions.ProfileNotFound(profile="my team"), CredentialsMissingError, "my team"),
    (exceptions.UnauthorizedSSOTokenError(), CredentialsExpiredError, "aws sso login"),
    (exceptions.EndpointConnectionError(endpoint_url="https://s3.eu-west-1.amazonaws.com/"), StoreUnreachableError, ""),
    (exceptions.EndpointConnectionError(endpoint_url="https://ec2.us-est-1.amazonaws.com/"), CloudError, "us-east-1"),
    (exceptions.ReadTimeoutError(endpoint_url="http://x"), StoreUnreachableError, "check the network"),
    (ResponseParserError("Unable to parse response: b'<html>'"), StoreUnreachableError, "perhaps a proxy"),
    (exceptions.NoRegionError(), CloudError, "no region is set"),
    (exceptions.InvalidRegionError(region_name="us east"), CloudError, "us east"),
    (RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired."), *(
        CredentialsExpiredError, "Start Lab")),
]  # fmt: skip
# What Terraform 1.11 with the AWS provider 5.100 prints.
FRAMED = """\x1b[31m╷\x1b[0m\x1b[0m
\x1b[31m│\x1b[0m \x1b[0m\x1b[1m\x1b[31mError: \x1b[0m\x1b[0m\x1b[1mcreating EC2 Instance: operation error EC2:
\x1b[31m│\x1b[0m RunInstances, https
\x1b[31m│\x1b[0m response error StatusCode: 400, RequestID: 1-2, api error VcpuLimitExceeded: You have requested more
\x1b[31m│\x1b[0m vCPU capacity than your current vCPU limit of 0 allows. Please visit http://aws.amazon.com/contact-us/ec2-request.
\x1b[31m│\x1b[0m
\x1b[31m│\x1b[0m   with aws_instance.host,
\x1b[31m╵\x1b[0m\x1b[0m
"""
BY_TEXT: list[tuple[str, type[WmsError], str]] = [
    (
        "Error: Retrieving AWS account details: validating provider credentials: operation error STS: "
        "GetCallerIdentity, https response error StatusCode: 403, RequestID: x, api error ExpiredToken: The security "
        "token included in the request is expired\n\n  with provider[...]",
        CredentialsExpiredError,
        "Start Lab",
    ),
    (FRAMED, QuotaError, "more vCPU capacity than your current vCPU limit of 0 allows"),
    (
        "Error: failed to refresh cached credentials, no EC2 IMDS role found,\noperation error ec2imds",
        CredentialsMissingError,
        "Start Lab",
    ),
    ("Error: No valid credential sources found\n\n  with provider", CredentialsMissingError, "Start Lab"),
    ("Error: invalid AWS Region: us-est-1\n\n  with provider", CloudError, "perhaps us-east-1"),
    (
        "Error: Retrieving AWS account details: operation error STS: GetCallerIdentity, exceeded maximum number of "
        'attempts, 9, https response error StatusCode: 0, RequestID: , request send failed, Post "http://127.0.0.1:9/":'
        " dial tcp 127.0.0.1:9: connect: connection refused\n",
        StoreUnreachableError,
        "AWS doesn't answer",
    ),
    (
        "Error: Failed to query available provider packages\n\nCould not retrieve the list of available versions for "
        "provider hashicorp/aws: could not connect to registry.terraform.io: dial tcp: lookup registry.terraform.io: "
        "no such host",
        StoreUnreachableError,
        "Terraform's registry doesn't answer",
    ),
    (
        "Error: creating S3 Bucket (x): operation error S3: CreateBucket, https response error StatusCode: 409, api "
        "error BucketAlreadyExists: The requested bucket name is not available.",
        CloudError,
        "another environment",
    ),
    (
        "Error: creating ECR Repository (wms-main): operation error ECR: CreateRepository, https response error "
        "StatusCode: 400, RequestID: x+/=, RepositoryAlreadyExistsException: The repository with name 'wms-main' "
        "already exists in the registry",
        RepeatedRequestError,
        "RepositoryAlreadyExistsException: The repository",
    ),
    (
        "Error: creating S3 Bucket (x): operation error S3: CreateBucket, https response error StatusCode: 409, "
        "RequestID: x, HostID: y+/=, BucketAlreadyOwnedByYou: ",
        RepeatedRequestError,
        "BucketAlreadyOwnedByYou: no reason given",
    ),
    ("Error: creating VPC: api error VpcLimitExceeded: The maximum number of VPCs has been reached.", QuotaError, ""),
    ('Error: Failed to get existing workspaces: S3 bucket "b" does not exist.', BucketNotFoundError, '"b"'),
    ("Error: Unsupported argument\n\n  on main.tf line 3", CloudError, "Unsupported argument"),
    ("", CloudError, "it says nothing"),
]  # fmt: skip


def assert_one_sentence(error: WmsError, what: str) -> None:
    text = str(error)
    assert text.startswith(f"Can't {what}: "), text
    assert re.fullmatch(r"[^\n]*[^. ]\.", text), text
    assert not re.search(r"\. [A-Z]", text), text


def answer(code: str, message: str = "No. Really not.") -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    return ClientError(response, "RunInstances")


def raised(error: Exception) -> WmsError:
    with pytest.raises(WmsError) as caught, aws_errors("start the instance"):
        raise error
    assert_one_sentence(caught.value, "start the instance")
    return caught.value


@pytest.fixture(autouse=True)
def on_a_laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")


@pytest.mark.parametrize("code", BY_CODE)
def test_each_code(code: str) -> None:
    kind, words = BY_CODE[code]
    error = raised(answer(code))
    assert type(error) is kind
    assert words in str(error)
    printed = explain(f"Error: creating it: operation error EC2: RunInstances, api error {code}: No. Really not.\n")
    assert type(printed) is kind
    assert_one_sentence(printed, "run Terraform")


@pytest.mark.parametrize(("error", "kind", "words"), BY_EXCEPTION, ids=lambda value: getattr(value, "__name__", ""))
def test_each_failure_without_an_answer(error: Exception, kind: type[WmsError], words: str) -> None:
    mapped = raised(error)
    assert type(mapped) is kind
    assert words in str(mapped)


@pytest.mark.parametrize(("text", "kind", "words"), BY_TEXT, ids=lambda value: getattr(value, "__name__", ""))
def test_what_terraform_prints(text: str, kind: type[WmsError], words: str) -> None:
    error = explain(text, "start the instance")
    assert type(error) is kind
    assert words in str(error)
    assert_one_sentence(error, "start the instance")


def test_of_several_errors_the_one_that_explains_the_others_counts() -> None:
    text = "Error: a: api error DependencyViolation: in use\n\nError: b: api error ExpiredToken: is expired\n"
    assert type(explain(text)) is CredentialsExpiredError


def test_a_lab_that_has_ended() -> None:
    """AWS Academy denies everything with a policy of this name before the keys themselves expire."""
    message = "not authorized to perform: ec2:RunInstances with an explicit deny: arn:aws:iam::1:policy/voc-cancel-cred"
    assert type(raised(answer("UnauthorizedOperation", message))) is CredentialsExpiredError


def test_the_right_that_is_lacking_is_named_and_the_encoded_message_is_not() -> None:
    message = "You are not authorized to perform: ec2:RunInstances. Encoded authorization failure message: Q2xhc3M"
    text = str(raised(answer("UnauthorizedOperation", message)))
    assert "ec2:RunInstances" in text
    assert "Q2xhc3M" not in text


def test_a_session_key_without_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ASIAIOSFODNN7EXAMPLE")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    error = raised(answer("AuthFailure"))
    assert type(error) is CredentialsMissingError
    assert "aws_session_token" in str(error)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "there is one")
    assert type(raised(answer("AuthFailure"))) is AccessDeniedError


def test_on_github_the_secrets_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert "secrets AWS_ACCESS_KEY_ID" in str(raised(answer("ExpiredToken")))


def test_every_class_of_the_sdk_is_caught_and_a_bug_stays_one() -> None:
    for name, kind in vars(exceptions).items():
        if isinstance(kind, type) and issubclass(kind, exceptions.BotoCoreError) and name != "BotoCoreError":
            error = kind.__new__(kind)
            Exception.__init__(error, "Something")
            raised(error)
    for bug in (RuntimeError("dictionary changed size"), ValueError("not enough values to unpack")):
        with pytest.raises(type(bug), match=str(bug)), aws_errors("start the instance"):
            raise bug


@pytest.mark.parametrize(
    ("code", "gone"),
    [
        *[("InvalidInstanceID.NotFound", True), ("InvalidGroup.NotFound", True), ("NoSuchEntity", True)],
        *[("InvalidAllocationID.NotFound", True), ("DependencyViolation", False), ("UnauthorizedOperation", False)],
    ],
)
def test_what_is_gone(code: str, gone: bool) -> None:
    assert is_gone(answer(code)) is gone
