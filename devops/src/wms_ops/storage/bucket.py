"""An S3 bucket: each request answers, or raises one of this project's errors."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import secrets
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final, Self

from wms.files import parse_json
from wms.json_text import to_json
from wms_ops.base.errors import BucketNotFoundError
from wms_ops.storage.client import PATIENT_ATTEMPTS, make_client
from wms_ops.storage.codes import ABSENT, LOST, code_of, unless
from wms_ops.storage.config import RemoteConfig
from wms_ops.storage.trouble import aws_errors

BODY_ATTEMPTS: Final = 3
# A body goes out block by block, and each block must reach the socket within CONNECT_TIMEOUT_S on a new connection.
# The SDK's blocks of 128 KiB would need 3 Mbit/s for 16 uploads at a time; these need 0.4.
BLOCK_BYTES: Final = 16 * 1024
_BODILESS: Final = {"400", "403"}  # HEAD's answers, which carry no reason
_WRONG_DIGEST: Final = {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"}
_UNCONDITIONAL: Final = {"NotImplemented", "501"}
_MUTE: Final = {"NotImplemented", "501", "MethodNotAllowed", "405", "AccessDenied", "403"}
_SHA256: Final = "sha256"


@dataclass(frozen=True)
class Stored:
    """An object's content and version, the time of its writing, and the store's clock at the reading."""

    content: bytes = field(repr=False)
    etag: str
    written: datetime
    clock: datetime


@dataclass(frozen=True)
class Facts:
    """An object's size in bytes and the SHA-256 that was given with the object, "" without any."""

    size: int
    sha256: str


class Bucket:
    """A bucket, for several threads at a time. `client` is botocore's, or a function that makes the client when needed.

    Every method raises CredentialsMissingError, CredentialsExpiredError, AccessDeniedError, BucketNotFoundError,
    ClockSkewError, StoreUnreachableError, CloudError, or StoreConfigError where the bucket is that of a DVC `remote`.
    """

    def __init__(self, name: str, client: Any, remote: RemoteConfig | None = None) -> None:
        self.name = name
        self._connect: Callable[[], Any] | None = client if callable(client) else None
        self._connected: Any = None if callable(client) else client
        self._remote = remote
        self._lock = threading.Lock()
        self._seen = False

    @classmethod
    def open(cls, name: str, region: str) -> Self:
        """Open a bucket with the credentials that the SDK finds, on an instance those of its role."""
        return cls(name, make_client("s3", region, attempts=PATIENT_ATTEMPTS))

    def try_listing(self) -> None:
        """Send one cheap request that needs the bucket and the permission to list its objects."""
        with self.errors():
            self.client.list_objects_v2(Bucket=self.name, Prefix=self._inside(""), MaxKeys=1)
        self._seen = True

    def try_writing(self) -> None:
        """Send an object under a wrong MD5: the store checks the permission, then refuses the bytes."""
        where = {"Bucket": self.name, "Key": self._inside(f".wms-access-probe-{secrets.token_hex(8)}")}
        wrong = {**self._sent(where["Key"], b"probe"), "ContentMD5": _base64_md5(b"another")}
        with self.errors():
            if unless(_WRONG_DIGEST, self.client.put_object, **wrong):
                self.client.delete_object(**where)  # a store that doesn't compare MD5s has written the object

    def versioning(self) -> str | None:
        """Return "Enabled", "Suspended", or "" where versions were never kept; None where the store doesn't tell."""
        with self.errors():
            answer = unless(_MUTE, self.client.get_bucket_versioning, Bucket=self.name)
        return None if answer is None else str(answer.get("Status", ""))

    def get(self, key: str) -> Stored | None:
        """Return an object, None if the bucket lacks the key."""
        from botocore.exceptions import BotoCoreError

        with self.errors():
            for attempt in range(1, BODY_ATTEMPTS + 1):
                try:
                    answer = unless(ABSENT, self.client.get_object, Bucket=self.name, Key=key)
                    return None if answer is None else _stored(answer)
                except BotoCoreError:  # the SDK repeats requests, but not a body that breaks off
                    if attempt == BODY_ATTEMPTS:
                        raise
        raise AssertionError("The last attempt returns or raises.")

    def facts(self, key: str) -> Facts | None:
        """Return an object's size and SHA-256, None if the bucket lacks the key."""
        from botocore.exceptions import ClientError

        with self.errors():
            try:
                answer = unless(ABSENT, self.client.head_object, Bucket=self.name, Key=key)
            except ClientError as error:
                if code_of(error) in _BODILESS:
                    self.try_listing()  # the answer to a HEAD has no body with a reason; a listing has
                raise
            if answer is None:
                if not self._seen:
                    self.try_listing()  # nor can a HEAD tell an absent object from an absent bucket
                return None
        return Facts(int(answer["ContentLength"]), answer["Metadata"].get(_SHA256, ""))

    def sizes(self, prefix: str) -> dict[str, int]:
        """Return the size in bytes of every object whose key begins with `prefix`, by key."""
        with self.errors():
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
            sizes = {item["Key"]: int(item["Size"]) for page in pages for item in page.get("Contents", ())}
        self._seen = True
        return sizes

    def names(self, prefix: str = "") -> list[str]:
        """Return all keys that begin with `prefix`, sorted."""
        return sorted(self.sizes(prefix))

    def put(self, key: str, content: bytes) -> None:
        """Store an object, whole or not at all, over any object of the same key; the store compares its MD5."""
        with self.errors():
            self.client.put_object(**self._sent(key, content))

    def put_if(self, key: str, content: bytes, etag: str | None, **more: str) -> str | None:
        """Write an object over the version `etag`, or as a new object (None).

        Returns the new ETag; None if another write came first.
        """
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        late = LOST if etag is None else LOST | ABSENT  # the version to be replaced may be gone
        with self.errors():
            answer = unless(late, self.client.put_object, **self._sent(key, content), **condition, **more)
        return None if answer is None else str(answer["ETag"])

    def upload(self, key: str, path: Path, sha256: str = "") -> None:
        """Write an object from a file of any size, in several parts if the file is large."""
        from boto3.s3.transfer import S3Transfer

        more = {"Metadata": {_SHA256: sha256}} if sha256 else None
        with self.errors():
            S3Transfer(self.client).upload_file(str(path), self.name, key, extra_args=more)

    def download(self, key: str, path: Path) -> bool:
        """Write an object into a file; return whether the bucket has the object."""
        from boto3.s3.transfer import S3Transfer

        def load() -> bool:
            S3Transfer(self.client).download_file(self.name, key, str(path))
            return True

        with self.errors():
            return unless(ABSENT, load) is not None

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; missing objects don't matter."""
        with self.errors():
            for key in keys:
                self.client.delete_object(Bucket=self.name, Key=key)

    def erase(self, key: str) -> int:
        """Delete an object in all its versions, and their marks of deletion; return how many there were.

        A store that keeps no versions loses the object itself.
        """
        count = 0
        with self.errors():
            for page in self.client.get_paginator("list_object_versions").paginate(Bucket=self.name, Prefix=key):
                for version in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                    if version["Key"] == key:
                        self.client.delete_object(Bucket=self.name, Key=key, VersionId=version["VersionId"])
                        count += 1
        if self.facts(key) is not None:
            self.delete([key])
            count += 1
        return count

    def delete_if(self, key: str, etag: str) -> bool:
        """Delete exactly this version; return whether the object is gone, False if another version is stored.

        A store without conditional deletion gets a plain deletion right after another look, which leaves a gap of some
        milliseconds.
        """
        now = self.get(key)  # also for stores that accept the condition and ignore it
        if now is None or now.etag != etag:
            return now is None
        from botocore.exceptions import ClientError

        with self.errors():
            try:
                answer = unless(LOST, self.client.delete_object, Bucket=self.name, Key=key, IfMatch=etag)
                return answer is not None
            except ClientError as error:
                if code_of(error) in ABSENT:
                    return True
                if code_of(error) not in _UNCONDITIONAL:
                    raise
        self.delete([key])
        return True

    def _inside(self, name: str) -> str:
        return self._remote.inside(name) if self._remote else name

    def _sent(self, key: str, content: bytes) -> dict[str, Any]:
        digest = _base64_md5(content)
        return {"Bucket": self.name, "Key": key, "Body": _Blocks(content), "ContentMD5": digest, **self.writing}

    @property
    def writing(self) -> dict[str, str]:
        """S3's options of each write: encryption, access."""
        return dict(self._remote.writing) if self._remote else {}

    def errors(self) -> contextlib.AbstractContextManager[None]:
        """Translate the SDK's errors inside of a `with` into this project's."""
        remote = self._remote
        return aws_errors(remote.use if remote else f"use s3://{self.name}", remote)

    @property
    def client(self) -> Any:
        """Botocore's client, made at the first use."""
        with self._lock:
            if self._connected is None and self._connect is not None:
                self._connected = self._connect()
            return self._connected


class _Blocks(io.BytesIO):
    """A body that is read in small blocks, even where the caller asks for a large block."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size if size is None or size < 0 else min(size, BLOCK_BYTES))


def _stored(answer: Any) -> Stored:
    with contextlib.closing(answer["Body"]) as body:  # `with` on a body itself reads past the SDK's checks
        content = bytes(body.read())
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    clock = parsedate_to_datetime(date) if date else datetime.now(UTC)
    return Stored(content, str(answer["ETag"]), answer["LastModified"], clock)


def _base64_md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode("ascii")


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
        body = to_json(value, indent=1).encode()
        return self.bucket.put_if(self.key, body, etag, ContentType="application/json")
