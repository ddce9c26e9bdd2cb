"""JSON objects in S3 that several machines change: each change names the version that it was made from."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import Any

from wms_ops.base.errors import BucketNotFoundError
from wms_ops.storage.conditional import read_object, write_object_if
from wms_ops.targets.aws.trouble import aws_errors


@dataclass(frozen=True)
class Shared:
    """An object of a bucket; `read` gives its value with the ETag that `replace` then wants back."""

    s3: Any
    bucket: str
    key: str

    def read(self) -> tuple[Any, str | None]:
        """Its JSON value and ETag; (None, None) where there is none. Raises what `aws_errors` does."""
        found = None
        with contextlib.suppress(BucketNotFoundError), aws_errors(f"read s3://{self.bucket}/{self.key}"):
            found = read_object(self.s3, self.bucket, self.key)
        if found is None:
            return None, None
        content, etag = found
        try:
            return json.loads(content), etag
        except ValueError:
            return None, etag  # torn by nobody, since S3 keeps whole objects; written by hand

    def replace(self, value: Any, etag: str | None) -> str | None:
        """Write `value` if the object still has this ETag (None: if there is none); the new ETag, None if it's late."""
        body = json.dumps(value, indent=1).encode()
        with aws_errors(f"write s3://{self.bucket}/{self.key}"):
            return write_object_if(self.s3, self.bucket, self.key, body, etag, ContentType="application/json")
