"""The bucket for Terraform's states, made by Python, since Terraform can't start without it; repeatable."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

from wms_ops.base.errors import CloudError
from wms_ops.storage.codes import code_of, unless
from wms_ops.storage.names import ENVIRONMENT_TAG, PART_TAG, STORE_PART, Names
from wms_ops.storage.trouble import aws_errors

_LIFECYCLE: Final = {
    "ID": "old versions",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "NoncurrentVersionExpiration": {"NoncurrentDays": 90},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
}


def ensure_state_bucket(s3: Any, names: Names) -> bool:
    """Make the bucket if missing; returns whether it was made. Raises CloudError if another account has the name."""
    bucket = names.state_bucket
    is_new = not state_bucket_exists(s3, names)
    if is_new:
        # S3 refuses us-east-1 as a LocationConstraint.
        where = {} if names.region == "us-east-1" else {"LocationConstraint": names.region}
        options = {"CreateBucketConfiguration": where} if where else {}
        with _own(bucket, f"make the bucket {bucket}"):  # another command of this account may be quicker
            is_new = unless({"BucketAlreadyOwnedByYou"}, s3.create_bucket, Bucket=bucket, **options) is not None
    with aws_errors(f"set up the bucket {bucket}"):
        closed = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
        s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=dict.fromkeys(closed, True))
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
        s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
        s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [_LIFECYCLE]})
        tags = [{"Key": PART_TAG, "Value": STORE_PART}, {"Key": ENVIRONMENT_TAG, "Value": "all"}]
        s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    return is_new


def state_bucket_exists(s3: Any, names: Names) -> bool:
    """Whether the bucket exists. Raises CloudError if another account has the name."""
    wanted = {"Bucket": names.state_bucket, "ExpectedBucketOwner": names.account}
    with _own(names.state_bucket, f"look for the bucket {names.state_bucket}"):
        return unless({"404", "NoSuchBucket"}, s3.head_bucket, **wanted) is not None


@contextlib.contextmanager
def _own(bucket: str, what: str) -> Iterator[None]:
    """`aws_errors`, and a sentence of its own for a bucket of another account."""
    from botocore.exceptions import ClientError

    with aws_errors(what):
        try:
            yield
        except ClientError as error:
            if code_of(error) not in {"403", "AccessDenied", "BucketAlreadyExists"}:
                raise
            raise CloudError(
                f"The bucket {bucket} can't be used: another account has that name, or these credentials may not see "
                "it; check with `aws sts get-caller-identity` that they are the right ones."
            ) from error
