"""Objects in the private bucket: the few calls that the host and its mailbox need, with this project's errors."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from wms_ops.storage.codes import ABSENT, code_of
from wms_ops.storage.conditional import read_object, write_object_if
from wms_ops.storage.config import RemoteConfig
from wms_ops.storage.trouble import store_errors

_SHA256: Final = "sha256"


@dataclass(frozen=True)
class Found:
    """An object's content and its version."""

    content: bytes = field(repr=False)
    etag: str


@dataclass(frozen=True)
class Facts:
    """An object's size in bytes and the SHA-256 that was given with it, "" if none was."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Objects:
    """A bucket. Every method raises the errors of wms_ops.storage.trouble."""

    bucket: str
    client: Any = field(repr=False)

    @classmethod
    def open(cls, bucket: str, region: str) -> Self:
        """With the credentials that the SDK finds, on an instance those of its role."""
        import boto3
        from botocore.config import Config

        style = {"addressing_style": "path"} if os.environ.get("AWS_ENDPOINT_URL") else {}
        retries = {"mode": "standard", "total_max_attempts": 6}
        config = Config(retries=retries, s3=style, connect_timeout=5, read_timeout=30, max_pool_connections=20)
        return cls(bucket, boto3.client("s3", region_name=region, config=config))

    def get(self, key: str) -> Found | None:
        """An object; None where there is none."""
        with self._errors():
            found = read_object(self.client, self.bucket, key)
            return None if found is None else Found(*found)

    def facts(self, key: str) -> Facts | None:
        """What the store says of an object; None where there is none."""
        with self._errors():
            answer = _unless_absent(self.client.head_object, Bucket=self.bucket, Key=key)
            return None if answer is None else Facts(int(answer["ContentLength"]), answer["Metadata"].get(_SHA256, ""))

    def put(self, key: str, content: bytes) -> None:
        """Write an object, over any other of this name."""
        with self._errors():
            self.client.put_object(Bucket=self.bucket, Key=key, Body=content)

    def put_if(self, key: str, content: bytes, etag: str | None) -> bool:
        """Write an object only over the version `etag`, or only where there is none; returns whether that was so."""
        with self._errors():
            return write_object_if(self.client, self.bucket, key, content, etag) is not None

    def upload(self, key: str, path: Path, sha256: str = "") -> None:
        """Write an object from a file of any size."""
        with self._errors():
            more = {"ExtraArgs": {"Metadata": {_SHA256: sha256}}} if sha256 else {}
            self.client.upload_file(str(path), self.bucket, key, **more)

    def download(self, key: str, path: Path) -> bool:
        """Write an object into a file; returns whether it's there."""
        with self._errors():
            done = _unless_absent(lambda: self.client.download_file(self.bucket, key, str(path)) or True)
            return done is not None

    def names(self, prefix: str) -> list[str]:
        """All keys that begin so, sorted."""
        with self._errors():
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
            return sorted(one["Key"] for page in pages for one in page.get("Contents", []))

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; those that aren't there don't matter."""
        with self._errors():
            for key in keys:
                self.client.delete_object(Bucket=self.bucket, Key=key)

    def _errors(self) -> contextlib.AbstractContextManager[None]:
        endpoint: Mapping[str, Any] = {"endpoint_url": os.environ.get("AWS_ENDPOINT_URL")}
        return store_errors(RemoteConfig(self.bucket, **endpoint))


def _unless_absent(call: Callable[..., Any], **arguments: Any) -> Any:
    """What a call of the SDK returns; None where there is no such object."""
    from botocore.exceptions import ClientError

    try:
        return call(**arguments)
    except ClientError as error:
        if code_of(error) in ABSENT:
            return None
        raise
