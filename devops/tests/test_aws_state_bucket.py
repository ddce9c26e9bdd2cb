"""The bucket for Terraform's states: made closed, the same at each call, never somebody else's."""

from __future__ import annotations

from typing import Any

import pytest
from aws_server import ACCOUNT, AwsServer
from botocore.exceptions import ClientError

from wms_ops.base.errors import CloudError
from wms_ops.storage.names import Names
from wms_ops.targets.aws.store_root import ensure_state_bucket, state_bucket_exists

pytest_plugins = ["aws_fixtures"]

NAMES = Names("main", ACCOUNT, "eu-central-1")
BUCKET = NAMES.state_bucket


def refuse(s3: Any, operation: str, code: str) -> None:
    """Let an operation end as AWS refuses it; moto knows no owners of buckets."""

    def answer(**_: Any) -> None:
        raise ClientError({"Error": {"Code": code, "Message": "No."}}, operation)

    s3.meta.events.register(f"before-call.s3.{operation}", answer)


def test_it_is_made_once_and_closed(aws: AwsServer) -> None:
    s3 = aws.client("s3")
    assert state_bucket_exists(s3, NAMES) is False
    assert [ensure_state_bucket(s3, NAMES) for _ in range(2)] == [True, False]
    assert state_bucket_exists(s3, NAMES) is True
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    closed = s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"]
    assert len(closed) == 4 and all(closed.values())
    rules = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    rule = s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"][0]
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 90} and "Expiration" not in rule
    assert {"Key": "wms:part", "Value": "store"} in s3.get_bucket_tagging(Bucket=BUCKET)["TagSet"]


def test_what_a_kill_left_undone_is_done_next_time(aws: AwsServer) -> None:
    s3 = aws.client("s3")
    aws.make_bucket(BUCKET)
    assert ensure_state_bucket(s3, NAMES) is False
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"


@pytest.mark.parametrize(("operation", "code"), [("HeadBucket", "403"), ("CreateBucket", "BucketAlreadyExists")])
def test_a_name_that_another_account_has(aws: AwsServer, operation: str, code: str) -> None:
    s3 = aws.client("s3")
    refuse(s3, operation, code)
    with pytest.raises(CloudError, match=rf"^The bucket {BUCKET} can't be used: another account .*get-caller-identity"):
        ensure_state_bucket(s3, NAMES)
    assert aws.client("s3").list_buckets()["Buckets"] == []


def test_somebody_of_this_account_was_quicker(aws: AwsServer) -> None:
    aws.make_bucket(BUCKET)
    s3 = aws.client("s3")
    refuse(s3, "HeadBucket", "404")
    refuse(s3, "CreateBucket", "BucketAlreadyOwnedByYou")
    assert ensure_state_bucket(s3, NAMES) is False
