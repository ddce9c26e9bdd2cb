"""The buckets that a restore reads: that of the data set, and that in which MLflow keeps its files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from wms.errors import UsageError
from wms.regular import read_regular
from wms_ops.base.errors import BucketNotFoundError
from wms_ops.restore.pasts import ArtifactStore
from wms_ops.storage.bucket import Bucket
from wms_ops.storage.config import RemoteConfig
from wms_ops.storage.past import PastBucket
from wms_ops.storage.remote import S3Remote

ARTIFACTS: Final = "mlflow"


def artifacts_url(remote: RemoteConfig) -> str:
    """The address of MLflow's files beside a DVC remote, as `wms cloud` makes both.

    >>> artifacts_url(RemoteConfig("wms-main-dvc-123456789012-eu-west-1", "dvc"))
    's3://wms-main-mlflow-123456789012-eu-west-1/mlflow'
    >>> artifacts_url(RemoteConfig("water-meters", "dvc"))
    's3://water-meters/mlflow'
    """
    return f"s3://{remote.bucket.replace('-dvc-', '-mlflow-')}/{ARTIFACTS}"


def bucket_at(url: str, remote: RemoteConfig) -> tuple[Bucket, str]:
    """Open the bucket of an s3:// address with the keys and the endpoint of a DVC remote; returns it with the prefix.

    Raises UsageError for another address.
    """
    name, _, prefix = url.removeprefix("s3://").partition("/")
    if not url.startswith("s3://") or not name:
        raise UsageError(f"{url} isn't the address of a bucket; give one such as s3://BUCKET/mlflow.")
    config = replace(remote, bucket=name, prefix=prefix.rstrip("/"))
    return S3Remote(config).bucket, config.prefix


def open_artifacts(location: str, remote: RemoteConfig | None) -> ArtifactStore:
    """List the files that MLflow kept at an s3:// address or in a folder. Raises UsageError and the bucket's errors."""
    if location.startswith("s3://"):
        bucket, prefix = bucket_at(location, remote or RemoteConfig(""))
        return ArtifactStore.of_bucket(bucket, prefix)
    root = _folder(location)
    # What a link leads to was never MLflow's, and rglob follows none to a folder.
    names = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return ArtifactStore(str(root), names, lambda key: read_regular(root / key))


def former_artifacts(location: str, remote: RemoteConfig) -> tuple[PastBucket, str] | None:
    """Open the former versions of MLflow's files; None where they lie in a folder or the bucket doesn't exist.

    Raises UsageError for a place that is neither.
    """
    if not location.startswith("s3://"):
        _folder(location)
        return None
    bucket, prefix = bucket_at(location, remote)
    try:
        bucket.try_listing()
    except BucketNotFoundError:
        return None
    return PastBucket(bucket), prefix


def _folder(location: str) -> Path:
    root = Path(location)
    if not root.is_dir():
        raise UsageError(f"{root} isn't a folder, so MLflow's files aren't there; name another place by --artifacts.")
    return root
