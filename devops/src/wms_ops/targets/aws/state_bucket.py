"""The bucket for Terraform's states, made by Python, since Terraform can't start without it; repeatable."""

from __future__ import annotations

from typing import Any, Final

from wms_ops.base.errors import CloudError
from wms_ops.storage.names import ENVIRONMENT_TAG, PART_TAG, STORE_PART, Names
from wms_ops.storage.trouble import aws_errors

OLD_DAYS: Final = 90
_NO_SUCH: Final = frozenset({"404", "NoSuchBucket"})
_NOT_OURS: Final = frozenset({"403", "AccessDenied", "BucketAlreadyExists"})


def ensure_state_bucket(s3: Any, names: Names) -> bool:
    """Make the bucket if missing; returns whether it was made. Raises CloudError if another account has the name."""
    bucket = names.state_bucket
    made = False
    if not state_bucket_exists(s3, names):
        made = _create(s3, bucket, names.region)
    with aws_errors(f"set up the bucket {bucket}"):
        s3.put_public_access_block(
            Bucket=bucket,
            PublicAccessBlockConfiguration=dict.fromkeys(
                ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
            ),
        )
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
        s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
        s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [_lifecycle()]})
        tags = [{"Key": PART_TAG, "Value": STORE_PART}, {"Key": ENVIRONMENT_TAG, "Value": "all"}]
        s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    return made


def state_bucket_exists(s3: Any, names: Names) -> bool:
    """Whether the bucket exists. Raises CloudError if another account has the name."""
    from botocore.exceptions import ClientError

    with aws_errors(f"look for the bucket {names.state_bucket}"):
        try:
            s3.head_bucket(Bucket=names.state_bucket, ExpectedBucketOwner=names.account)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _NO_SUCH:
                return False
            if code in _NOT_OURS:
                raise _taken(names.state_bucket) from error
            raise
    return True


def _create(s3: Any, bucket: str, region: str) -> bool:
    from botocore.exceptions import ClientError

    # S3 refuses us-east-1 as a LocationConstraint.
    where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    with aws_errors(f"make the bucket {bucket}"):
        try:
            s3.create_bucket(Bucket=bucket, **where)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "BucketAlreadyOwnedByYou":
                return False  # another command of this account was quicker
            if code in _NOT_OURS:
                raise _taken(bucket) from error
            raise
    return True


def _lifecycle() -> dict[str, Any]:
    return {
        "ID": "old versions",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "NoncurrentVersionExpiration": {"NoncurrentDays": OLD_DAYS},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
    }


def _taken(bucket: str) -> CloudError:
    return CloudError(
        f"The bucket {bucket} can't be used: another account has that name, or these credentials may not see it; "
        "check with `aws sts get-caller-identity` that they are the right ones."
    )
