"""The variables of Terraform's root `instance`, the same for its start and its end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from wms_ops.targets.aws.bundle import Bundle
from wms_ops.targets.aws.context import AwsContext
from wms_ops.targets.aws.lease import Lease


def instance_variables(context: AwsContext, lease: Lease, lifetime: timedelta, bundle: Bundle | None) -> dict[str, Any]:
    """The variables of Terraform's root `instance`; no bundle for its end, where only the names matter."""
    settings = context.settings
    return {
        "region": context.names.region,
        "environment": context.names.environment,
        "owner": lease.holder,
        "launch_id": lease.launch_id or "none",
        "deadline": lease.until.isoformat(timespec="seconds"),
        "lifetime_minutes": max(5, int(lifetime.total_seconds() // 60)),
        "idle_minutes": settings.idle_minutes,
        "instance_type": settings.instance_type,
        "disk_gb": settings.disk_gb,
        "spot": settings.spot,
        "existing_instance_profile": settings.existing_instance_profile,
        "ami_id": settings.ami_id,
        "bundle_bucket": context.names.mlflow_bucket,
        "bundle_key": bundle.key if bundle else "bundle/none.tar.gz",
        "bundle_sha256": bundle.sha256 if bundle else "0" * 64,
        "dvc_bucket": context.names.dvc_bucket,
        "mlflow_bucket": context.names.mlflow_bucket,
        "mlflow_port": settings.mlflow_port,
        "service_port": settings.service_port,
    }
