"""cleanup-aws: deletes one environment with its instance, data set, models and state."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from wms_ops.storage.codes import unless
from wms_ops.storage.names import Names
from wms_ops.storage.trouble import aws_errors
from wms_ops.targets.aws.cloud import AwsCloud
from wms_ops.targets.aws.context import STORE_ROOT
from wms_ops.targets.aws.store_root import destroy_store, state_bucket_exists
from wms_ops.targets.aws.teardown import clear_lock, take_down
from wms_ops.targets.aws.terraform_program import require_terraform

_AT_ONCE: Final = 1000
_LONGEST: Final = timedelta(minutes=30)


def warning(cloud: AwsCloud) -> str:
    """The full list of everything that the deletion destroys."""
    names = cloud.context.names
    return (
        f"This deletes all of the environment {names.environment} in account {names.account}, {names.region}: the "
        f"instance, the data set in {names.dvc_bucket}, all models and runs in {names.mlflow_bucket}, the image "
        f"repository {names.prefix}, the network and the instance's role, and this environment's records in "
        f"{names.state_bucket}. It can't be undone."
    )


def clean_up(cloud: AwsCloud) -> None:
    """Delete the environment. A second call continues the first. Raises the errors of `take_down` and Terraform.

    Terraform is required first, since a run without Terraform would delete only half.
    """
    context = cloud.context
    require_terraform(context.environ)
    take_down(context, force=True)
    if not state_bucket_exists(context.aws.s3, context.names):
        return
    with context.locked():
        # The lease keeps others from starting an instance on buckets that are about to go.
        context.leases.take(context.holder, context.now() + _LONGEST, show=context.show)
        with context.leases.beating(context.holder):
            clear_lock(context, STORE_ROOT)
            destroy_store(context)
            _forget(context.aws.s3, context.names)


def _forget(s3: Any, names: Names) -> None:
    """Delete all versions of the environment's objects in the state bucket, and the bucket once empty."""
    bucket = names.state_bucket
    with aws_errors(f"empty the bucket {bucket}"):
        left = False
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            own = [version for version in found if _environment_of(version["Key"]) == names.environment]
            left = left or len(own) < len(found)
            for start in range(0, len(own), _AT_ONCE):
                keys = [
                    {"Key": version["Key"], "VersionId": version["VersionId"]}
                    for version in own[start : start + _AT_ONCE]
                ]
                s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
        if not left:
            unless(("NoSuchBucket", "BucketNotEmpty"), s3.delete_bucket, Bucket=bucket)


def _environment_of(key: str) -> str:
    """The environment of an object: instance/NAME.tfstate, lease/NAME.json, sessions/NAME/LAUNCH.json."""
    _, _, rest = key.partition("/")
    return rest.partition("/")[0].partition(".")[0]
