"""Objects in S3 that several machines change: each write names the version that it was made from.

Raises the SDK's own errors, for the caller to word.
"""

from __future__ import annotations

from typing import Any

from wms_ops.storage.codes import ABSENT, LOST, code_of


def read_object(client: Any, bucket: str, key: str) -> tuple[bytes, str] | None:
    """An object's content and ETag; None where there is none."""
    from botocore.exceptions import ClientError

    try:
        answer = client.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if code_of(error) in ABSENT:
            return None
        raise
    with answer["Body"] as body:
        return body.read(), str(answer["ETag"])


def write_object_if(client: Any, bucket: str, key: str, content: bytes, etag: str | None, **more: str) -> str | None:
    """Write an object over the version `etag`, or where there is none (None); its new ETag, None if it was late."""
    from botocore.exceptions import ClientError

    condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
    try:
        return str(client.put_object(Bucket=bucket, Key=key, Body=content, **condition, **more)["ETag"])
    except ClientError as error:
        if code_of(error) in (LOST if etag is None else LOST | ABSENT):  # what was to be replaced may be gone
            return None
        raise
