"""The persistent resources: buckets and the image repository, made once and left alone until their code changes."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from wms.files import canonical_json
from wms_ops.storage.shared import Shared
from wms_ops.targets.aws.context import STORE_ROOT, AwsContext
from wms_ops.targets.aws.state_bucket import ensure_state_bucket
from wms_ops.targets.aws.terraform import ROOTS

_FORGET_DAYS: Final = 90


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
        **({"s3_path_style": True} if context.path_style else {}),
    }


def ensure_store(context: AwsContext) -> bool:
    """Make the buckets and the repository unless they match this code; returns whether Terraform ran.

    The state bucket holds a digest of the applied code, since asking Terraform takes longer than the rest of a start.
    """
    variables = store_variables(context)
    digest = _digest(variables)
    note = Shared(context.state, context.names.applied_key(STORE_ROOT))
    noted, etag = note.read()
    if isinstance(noted, dict) and noted.get("digest") == digest and _exist(context):
        return False
    context.show("Making the buckets and the image repository.")
    terraform = context.terraform(STORE_ROOT)
    terraform.init()
    terraform.apply(variables)
    note.replace({"digest": digest}, etag)
    return True


def destroy_store(context: AwsContext) -> None:
    """Delete the buckets with all objects, and the repository. Raises Terraform's errors."""
    terraform = context.terraform(STORE_ROOT)
    variables = store_variables(context, force_destroy=True)
    ensure_state_bucket(context.aws.s3, context.names)
    terraform.init()
    terraform.apply(variables)  # the provider deletes a bucket's objects only if the state says that it may
    terraform.destroy(variables)


def _digest(variables: dict[str, Any]) -> str:
    found = hashlib.sha256(canonical_json(variables).encode())
    for path in sorted((ROOTS / STORE_ROOT).glob("*.tf")):
        found.update(path.read_bytes())
    return found.hexdigest()


def _exist(context: AwsContext) -> bool:
    """Whether both buckets still exist."""
    from botocore.exceptions import ClientError

    try:
        for bucket in (context.names.dvc_bucket, context.names.mlflow_bucket):
            context.aws.s3.head_bucket(Bucket=bucket)
    except ClientError:
        return False
    return True
