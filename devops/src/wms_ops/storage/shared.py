"""JSON objects in S3 that several machines change: each change names the version on which the change is based."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import Any

from wms.files import parse_json
from wms_ops.base.errors import BucketNotFoundError
from wms_ops.storage.bucket import Bucket


@dataclass(frozen=True)
class Shared:
    """An object of a bucket; `read` gives its value with the ETag that `replace` then wants back."""

    bucket: Bucket
    key: str

    def read(self) -> tuple[Any, str | None]:
        """Return the object's JSON value and ETag; (None, None) for a missing object. Raises the bucket's errors."""
        found = None
        with contextlib.suppress(BucketNotFoundError):
            found = self.bucket.get(self.key)
        if found is None:
            return None, None
        try:
            return parse_json(found.content), found.etag
        except ValueError:
            return None, found.etag  # written by hand: S3 keeps whole objects, so no write is torn

    def replace(self, value: Any, etag: str | None) -> str | None:
        """Write `value` over the version `etag`, or as a new object (None).

        Returns the new ETag; None if another write came first.
        """
        body = json.dumps(value, indent=1).encode()
        return self.bucket.put_if(self.key, body, etag, ContentType="application/json")
