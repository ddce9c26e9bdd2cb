"""The size of the buckets, by CloudWatch's daily figure.

One request suffices for a bucket of any size; a listing would take one for each 1,000 objects and miss old versions.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from wms_ops.storage.names import Names
from wms_ops.storage.trouble import aws_errors

GB: Final = 2**30
"""AWS's GB of storage, in bytes."""

_DAYS: Final = 3
"""Days to look back: a day's figure comes up to two days later."""


def buckets_of(environment: str, account: str, region: str) -> tuple[str, ...]:
    """Return the buckets of an environment: data set, models, and the state that all environments share."""
    names = Names(environment, account, region)
    return names.dvc_bucket, names.mlflow_bucket, names.state_bucket


def stored_gb(client: Any, buckets: Iterable[str], now: datetime) -> dict[str, float]:
    """Return the GB in S3 Standard by bucket, old versions included, as of the newest day that CloudWatch knows.

    `client` is the SDK's for CloudWatch. A bucket that is new or doesn't exist has no figure and is left out. Raises
    the errors of wms_ops.storage.trouble.
    """
    found = {}
    for bucket in buckets:
        with aws_errors(f"ask CloudWatch how much lies in {bucket}"):
            answer = client.get_metric_statistics(
                Namespace="AWS/S3",
                MetricName="BucketSizeBytes",
                Dimensions=[
                    {"Name": "BucketName", "Value": bucket},
                    {"Name": "StorageType", "Value": "StandardStorage"},
                ],
                StartTime=now - timedelta(days=_DAYS),
                EndTime=now,
                Period=86_400,
                Statistics=["Average"],
            )
        if points := answer["Datapoints"]:
            found[bucket] = float(max(points, key=lambda point: point["Timestamp"])["Average"]) / GB
    return found
