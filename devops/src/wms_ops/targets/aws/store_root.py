"""The persistent resources: made once, and left alone until their code changes.

Python makes the bucket for Terraform's states, since Terraform can't start without that bucket; Terraform makes the
buckets, the image repository, the network, and the instance's role.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from typing import Any, Final

from wms.files import canonical_json
from wms_ops.base.errors import AccessDeniedError, CloudError, RepeatedRequestError
from wms_ops.storage.bucket import Shared
from wms_ops.storage.codes import code_of, unless
from wms_ops.storage.names import ENVIRONMENT_TAG, PART_TAG, STORE_PART, Names
from wms_ops.storage.trouble import aws_errors
from wms_ops.targets.aws.context import STORE_ROOT, AwsContext
from wms_ops.targets.aws.network import network_is_whole
from wms_ops.targets.aws.store_plan import plan_judge
from wms_ops.targets.aws.sweep import drop_lasting
from wms_ops.targets.aws.terraform import ROOTS

_FORGET_DAYS: Final = 90
_SETTINGS: Final = (
    "existing_instance_profile",
    "github_repository",
    "github_environment",
    "github_provider_arn",
    "budget_email",
    "budget_month_usd",
)


def store_variables(context: AwsContext, *, force_destroy: bool = False) -> dict[str, Any]:
    """The variables of Terraform's root `persistent`."""
    return {
        "region": context.names.region,
        "environment": context.names.environment,
        "dvc_bucket": context.names.dvc_bucket,
        "mlflow_bucket": context.names.mlflow_bucket,
        "ecr_repository": context.names.prefix,
        "force_destroy": force_destroy,
        "noncurrent_days": _FORGET_DAYS,
        **{name: getattr(context.settings, name) for name in _SETTINGS},
        **({"s3_path_style": True} if context.path_style else {}),
    }


def ensure_store(context: AwsContext) -> bool:
    """Make the buckets, the repository and the network unless they match this code; returns whether Terraform ran.

    The state bucket holds a digest of the applied code and variables, since asking Terraform takes longer than the rest
    of a start. The digest counts only while AWS has everything. Raises UnsafePlanError before Terraform would delete
    data or change what isn't this environment's, and Terraform's errors.
    """
    variables = store_variables(context)
    digest = _digest(variables)
    note = Shared(context.state, context.names.applied_key(STORE_ROOT))
    noted, etag = note.read()
    applied = noted.get("digest") if isinstance(noted, dict) else None
    if applied == digest and _is_whole(_existing(context)) and network_is_whole(context):
        return False
    context.show("Making the buckets, the image repository and the network, which last.")
    if applied is None and not network_is_whole(context):
        _drop_network(context)  # of an apply that never ended: Terraform's state may not know all of it
    terraform, judge = context.terraform(STORE_ROOT), plan_judge(context.names)
    terraform.init()
    try:
        terraform.apply(variables | _existing(context), judge)
    except AccessDeniedError as error:
        raise AccessDeniedError(
            f"{error} What lasts was made by other code or settings than these: have a person who may change it run "
            "`wms cloud store` on the newest main with the same wms.tfvars (at GitHub WMS_TFVARS)."
        ) from error
    except RepeatedRequestError as error:
        context.show(f"{error} Taking what is there and going on.")
        _drop_network(context)
        terraform.apply(variables | _existing(context), judge)
    note.replace({"digest": digest}, etag)
    return True


def _drop_network(context: AwsContext) -> None:
    """Delete the network and the role, which cost nothing and hold no data, unless an instance uses them."""
    if not context.instances():
        drop_lasting(context.aws, context.settings.environment, STORE_PART, context.show)


def destroy_store(context: AwsContext) -> None:
    """Delete the buckets with all objects, and the repository. Raises Terraform's errors and UnsafePlanError."""
    terraform = context.terraform(STORE_ROOT)
    variables = store_variables(context, force_destroy=True)
    ensure_state_bucket(context.aws.s3, context.names)
    terraform.init()
    variables |= _existing(context)
    # The provider deletes a bucket's objects only if the state says that it may.
    terraform.apply(variables, plan_judge(context.names))
    terraform.apply(variables, plan_judge(context.names, end=True), destroy=True)
    drop_lasting(context.aws, context.settings.environment, STORE_PART, context.show)


def _digest(variables: dict[str, Any]) -> str:
    found = hashlib.sha256(canonical_json(variables).encode())
    for path in sorted((ROOTS / STORE_ROOT).glob("*.tf")):
        found.update(path.read_bytes())
    return found.hexdigest()


def _existing(context: AwsContext) -> dict[str, Any]:
    """The variables that name what AWS has of this environment's, whether or not Terraform's state knows it."""
    names = context.names
    buckets = {"dvc": names.dvc_bucket, "mlflow": names.mlflow_bucket}
    with aws_errors("look for the buckets and the image repository"):
        return {
            "existing_buckets": [key for key, name in buckets.items() if _has_bucket(context, name)],
            "repository_exists": _has_repository(context),
        }


def _is_whole(existing: dict[str, Any]) -> bool:
    return len(existing["existing_buckets"]) == 2 and existing["repository_exists"]


def _has_bucket(context: AwsContext, name: str) -> bool:
    """Whether this account has the bucket; a name that another account has is Terraform's to refuse."""
    wanted = {"Bucket": name, "ExpectedBucketOwner": context.names.account}
    return unless({"404", "NoSuchBucket", "403", "AccessDenied"}, context.aws.s3.head_bucket, **wanted) is not None


def _has_repository(context: AwsContext) -> bool:
    """Whether the repository is there with this environment's tag; anybody else's of that name is left alone."""
    gone, ecr = {"RepositoryNotFoundException"}, context.aws.ecr
    found = unless(gone, ecr.describe_repositories, repositoryNames=[context.names.prefix])
    if found is None:
        return False
    told = unless(gone, ecr.list_tags_for_resource, resourceArn=found["repositories"][0]["repositoryArn"]) or {}
    tags = {tag["Key"]: tag["Value"] for tag in told.get("tags", [])}
    return tags.get(ENVIRONMENT_TAG) == context.names.environment


_LIFECYCLE: Final = {
    "ID": "old versions",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "NoncurrentVersionExpiration": {"NoncurrentDays": 90},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
}


def ensure_state_bucket(s3: Any, names: Names) -> bool:
    """Make the bucket if missing; returns whether it was made. Raises CloudError if another account has the name.

    A bucket with the tags is left as it is, since they come last: a workflow's role may not change it.
    """
    bucket = names.state_bucket
    tags = [{"Key": PART_TAG, "Value": STORE_PART}, {"Key": ENVIRONMENT_TAG, "Value": "all"}]
    is_new = not state_bucket_exists(s3, names)
    if not is_new:
        with aws_errors(f"read the tags of the bucket {bucket}"):
            found = unless({"NoSuchTagSet"}, s3.get_bucket_tagging, Bucket=bucket) or {}
        if all(tag in found.get("TagSet", []) for tag in tags):
            return False
    else:
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
