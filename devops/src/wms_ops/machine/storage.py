"""The bucket on the local S3 server, and a probe whether the server stores objects."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from wms.errors import DiskFullError
from wms_ops.machine.environment import REGION
from wms_ops.storage.client import remote_client
from wms_ops.storage.config import RemoteConfig
from wms_ops.storage.disk import FREE_MIB

BUCKET: Final = "water-meters"
DVC_URL: Final = f"s3://{BUCKET}/dvc"
ARTIFACTS_URL: Final = f"s3://{BUCKET}/mlflow"
_PROBE: Final = ".wms-cloud-probe"


def probe_of(endpoint: str, environ: Mapping[str, str]) -> Callable[[], str | None]:
    """A probe that makes the bucket and stores an object: the port opens before the server can store anything."""
    made: list[Any] = []

    def probe() -> str | None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            if not made:
                config = RemoteConfig(BUCKET, endpoint_url=endpoint, region=REGION)
                made.append(remote_client(config, environ, 1, attempts=1))
            (client,) = made
            with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
                client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key=_PROBE, Body=b"yes")
        except (BotoCoreError, ClientError) as error:
            return " ".join(str(error).split())[:200]
        return None

    return probe


def require_space(folder: Path) -> None:
    """Raise DiskFullError where the server would refuse objects for lack of space."""
    free = shutil.disk_usage(folder).free
    if free < 2 * FREE_MIB * 2**20:
        raise DiskFullError(
            f"Only {free / 2**20:.0f} MiB are free on the disk of {folder}, and the local cloud needs "
            f"{2 * FREE_MIB} MiB at least; free some and run it again."
        )
