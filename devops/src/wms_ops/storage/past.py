"""Former versions of a bucket's objects: what a deleted or overwritten object was, as far as the bucket keeps that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from wms_ops.storage.bucket import Bucket


@dataclass(frozen=True)
class PastVersion:
    """A version of an object: its id, MD5 if the store tells it (else ""), size in bytes and time."""

    version_id: str
    md5: str
    size: int
    at: datetime


@dataclass
class KeyHistory:
    """All versions of an object, the newest first; `present` unless the object is deleted now."""

    key: str
    versions: list[PastVersion] = field(default_factory=list)
    present: bool = False


class PastBucket:
    """The former versions in a bucket. Every method raises the bucket's errors."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket

    def histories(self, prefix: str) -> Iterator[KeyHistory]:
        """Yield every object below a prefix, also deleted ones, in the order of their keys."""
        with self.bucket.errors():
            pages = self.bucket.client.get_paginator("list_object_versions").paginate(
                Bucket=self.bucket.name, Prefix=prefix
            )
            found: dict[str, KeyHistory] = {}
            for page in pages:
                for one in page.get("Versions", ()):
                    history = found.setdefault(one["Key"], KeyHistory(one["Key"]))
                    tag = str(one["ETag"]).strip('"')
                    md5 = "" if "-" in tag else tag  # an upload in parts has another hash there
                    history.versions.append(
                        PastVersion(str(one["VersionId"]), md5, int(one["Size"]), one["LastModified"])
                    )
                    history.present |= bool(one["IsLatest"])
                for one in page.get("DeleteMarkers", ()):
                    found.setdefault(one["Key"], KeyHistory(one["Key"]))
        for key in sorted(found):
            found[key].versions.sort(key=lambda version: version.at, reverse=True)
            yield found[key]

    def read(self, key: str, version: PastVersion) -> bytes:
        """Return the content of a version."""
        with self.bucket.errors():
            answer = self.bucket.client.get_object(Bucket=self.bucket.name, Key=key, VersionId=version.version_id)
            return bytes(answer["Body"].read())

    def bring_back(self, key: str, version: PastVersion) -> None:
        """Make a former version the present one by a copy inside the bucket; all versions and markers stay."""
        source = {"Bucket": self.bucket.name, "Key": key, "VersionId": version.version_id}
        with self.bucket.errors():
            self.bucket.client.copy_object(Bucket=self.bucket.name, Key=key, CopySource=source, **self.bucket.writing)
