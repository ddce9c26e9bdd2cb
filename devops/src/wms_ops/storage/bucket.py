"""Single requests to one S3 bucket: each answers, or raises one of this project's errors."""

from __future__ import annotations

import base64
import hashlib
import io
import secrets
import threading
from collections.abc import Mapping
from typing import Any

from wms_ops.storage.client import Traffic, TrafficCounter, make_client
from wms_ops.storage.codes import ABSENT, code_of
from wms_ops.storage.config import RemoteConfig
from wms_ops.storage.trouble import store_errors

BODY_ATTEMPTS = 3
# A body goes out block by block, and each block must reach the socket within CONNECT_TIMEOUT_S on a new connection.
# The SDK's blocks of 128 KiB would need 3 Mbit/s for 16 uploads at a time; these need 0.4.
BLOCK_BYTES = 16 * 1024
_BODILESS = {"400", "403"}  # what HEAD answers instead of a reason
_WRONG_DIGEST = {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"}


class Bucket:
    """The bucket of `config`, for up to `connections` threads at a time; connects at the first request.

    Every method raises CredentialsMissingError, CredentialsExpiredError, AccessDeniedError,
    BucketNotFoundError, ClockSkewError, StoreConfigError or StoreUnreachableError.
    """

    def __init__(self, config: RemoteConfig, environ: Mapping[str, str], connections: int) -> None:
        self._config = config
        self._environ = environ
        self._connections = connections
        self._lock = threading.Lock()
        self._connected: Any = None
        self._seen = False
        self._counter = TrafficCounter()

    @property
    def traffic(self) -> Traffic:
        return self._counter.traffic

    def try_listing(self) -> None:
        """One cheap request that needs the bucket and the permission to list it."""
        with store_errors(self._config):
            self._client.list_objects_v2(Bucket=self._config.bucket, Prefix=self._config.inside(""), MaxKeys=1)
        self._seen = True

    def try_writing(self) -> None:
        """Send an object under a wrong MD5: the store looks at the permission, then refuses the bytes."""
        from botocore.exceptions import ClientError

        where = {
            "Bucket": self._config.bucket,
            "Key": self._config.inside(f".wms-access-probe-{secrets.token_hex(8)}"),
        }
        with store_errors(self._config):
            try:
                self._client.put_object(**where, Body=b"probe", ContentMD5=_base64_md5(b"another"))
            except ClientError as error:
                if code_of(error) not in _WRONG_DIGEST:
                    raise
            else:  # a store that doesn't compare
                self._client.delete_object(**where)

    def put(self, key: str, data: bytes) -> None:
        """Store `data` under `key`, whole or not at all; the store compares its MD5."""
        with store_errors(self._config):
            self._client.put_object(
                Bucket=self._config.bucket, Key=key, Body=_Blocks(data), ContentMD5=_base64_md5(data)
            )

    def get(self, key: str) -> bytes | None:
        """The object's bytes, None if there is no such object."""
        from botocore.exceptions import BotoCoreError, ClientError

        with store_errors(self._config):
            for attempt in range(1, BODY_ATTEMPTS + 1):
                try:
                    answer = self._client.get_object(Bucket=self._config.bucket, Key=key)
                    return bytes(answer["Body"].read())
                except ClientError as error:
                    if code_of(error) not in ABSENT:
                        raise
                    return None
                except BotoCoreError:  # the SDK repeats requests, but not a body that breaks off
                    if attempt == BODY_ATTEMPTS:
                        raise
        raise AssertionError("The last attempt returns or raises.")

    def head(self, key: str) -> int | None:
        """The object's size in bytes, None if there is no such object."""
        from botocore.exceptions import ClientError

        with store_errors(self._config):
            try:
                answer = self._client.head_object(Bucket=self._config.bucket, Key=key)
            except ClientError as error:
                code = code_of(error)
                if code not in ABSENT | _BODILESS:
                    raise
                # A HEAD's answer has no body to tell an absent object from an absent bucket, or why it's refused.
                if code in _BODILESS or not self._seen:
                    self.try_listing()
                if code in _BODILESS:
                    raise
                return None
        return int(answer["ContentLength"])

    def list(self, folder: str) -> dict[str, int]:
        """Every object's size in bytes by its key, for keys that begin with `folder`."""
        with store_errors(self._config):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._config.bucket, Prefix=folder)
            sizes = {item["Key"]: int(item["Size"]) for page in pages for item in page.get("Contents", ())}
        self._seen = True
        return sizes

    @property
    def _client(self) -> Any:
        with self._lock:
            if self._connected is None:
                self._connected = make_client(self._config, self._environ, self._connections)
                self._counter.watch(self._connected)
            return self._connected


class _Blocks(io.BytesIO):
    """A body that is handed out in small blocks, however large a block is asked for."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size if size is None or size < 0 else min(size, BLOCK_BYTES))


def _base64_md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode("ascii")
