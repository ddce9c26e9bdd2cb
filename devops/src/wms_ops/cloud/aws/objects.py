"""JSON objects in S3 that several machines change: each change names the version that it was made from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from wms_ops.cloud.aws.trouble import aws_errors

LOST: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
ABSENT: Final = frozenset({"NoSuchKey", "404", "NoSuchBucket"})


@dataclass(frozen=True)
class Shared:
    """An object of a bucket; `read` gives its value with the ETag that `replace` then wants back."""

    s3: Any
    bucket: str
    key: str

    def read(self) -> tuple[Any, str | None]:
        """Its JSON value and ETag; (None, None) where there is none. Raises what `aws_errors` does."""
        from botocore.exceptions import ClientError

        with aws_errors(f"read s3://{self.bucket}/{self.key}"):
            try:
                answer = self.s3.get_object(Bucket=self.bucket, Key=self.key)
            except ClientError as error:
                if error.response["Error"]["Code"] in ABSENT:
                    return None, None
                raise
            with answer["Body"] as body:
                content = body.read()
        try:
            return json.loads(content), str(answer["ETag"])
        except ValueError:
            return None, str(answer["ETag"])  # torn by nobody, since S3 keeps whole objects; written by hand

    def replace(self, value: Any, etag: str | None) -> str | None:
        """Write `value` if the object still has this ETag (None: if there is none); the new ETag, None if it's late."""
        from botocore.exceptions import ClientError

        condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
        body = json.dumps(value, indent=1).encode()
        with aws_errors(f"write s3://{self.bucket}/{self.key}"):
            try:
                done = self.s3.put_object(
                    Bucket=self.bucket, Key=self.key, Body=body, ContentType="application/json", **condition
                )
            except ClientError as error:
                if error.response["Error"]["Code"] in LOST or (etag and error.response["Error"]["Code"] in ABSENT):
                    return None
                raise
        return str(done["ETag"])

    def remove(self) -> None:
        """Delete it; nothing happens if it's gone already."""
        with aws_errors(f"delete s3://{self.bucket}/{self.key}"):
            self.s3.delete_object(Bucket=self.bucket, Key=self.key)
