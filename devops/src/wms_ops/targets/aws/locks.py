"""Terraform's locks in the state bucket: reads a lock's holder, and removes the lock of a dead holder.

Ages are S3's own: S3's clock gives both the time of the lock and the present time, so a machine's wrong clock doesn't
matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wms_ops.base.errors import BucketNotFoundError
from wms_ops.storage.bucket import Bucket

SUFFIX: Final = ".tflock"
GRACE: Final = timedelta(minutes=2)
"""The least age of a stale lock: between the lock and the lease's first heartbeat no process seems to be at work."""

LONGEST: Final = timedelta(minutes=30)
"""Terraform never gets longer, so an older lock is stale, whatever the lease says."""


class Lock(BaseModel):
    """The lock that Terraform wrote; `since` and `etag` are S3's. Unreadable fields are empty."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: str
    etag: str
    since: datetime
    id: str = Field("", alias="ID")
    operation: str = Field("", alias="Operation")
    who: str = Field("", alias="Who")

    def __str__(self) -> str:
        doing = self.operation.removeprefix("OperationType").lower() or "something"
        since = f"{self.since:%Y-%m-%d %H:%M:%S} UTC"
        return f"the lock {self.key}, held by {self.who or 'somebody'} for {doing} since {since}"


def is_stale(lock: Lock, now: datetime, is_held: bool, longest: timedelta = LONGEST, grace: timedelta = GRACE) -> bool:
    """Whether a lock's holder is gone: no process is at work (`is_held`, by the heartbeat), or the lock is too old."""
    age = now - lock.since
    return age > longest or (not is_held and age >= grace)


def break_stale_lock(
    bucket: Bucket,
    key: str,
    *,
    is_held: bool,
    show: Callable[[str], None] = lambda _: None,
    now: datetime | None = None,
    grace: timedelta = GRACE,
    longest: timedelta = LONGEST,
    dry_run: bool = False,
) -> Lock | None:
    """Delete the lock of the state `key` if stale; returns the lock, None without a lock or if it stays.

    S3 compares the lock's ETag in the same request, and ids give each lock a different content. So the deletion hits
    the very lock that was judged, never a lock that was taken in between. `show` hears whose lock it was, or why it
    stays. Raises the bucket's errors.
    """
    found = _read(bucket, key + SUFFIX)
    if found is None:
        return None
    lock, clock = found
    if not is_stale(lock, now or clock, is_held, longest, grace):
        show(f"Terraform is at work: {lock}.")
        return None
    if dry_run:
        show(f"Stale: {lock}.")
        return lock
    if not bucket.delete_if(lock.key, lock.etag):
        show(f"Left alone, because it has changed: {lock}.")
        return None
    show(f"Broke {lock}: its holder is gone.")
    return lock


def locked_states(bucket: Bucket) -> Iterator[tuple[str, str]]:
    """(environment, key of the state) for each lock in the state bucket; empty without that bucket."""
    try:
        keys = bucket.names()
    except BucketNotFoundError:
        return
    for key in keys:
        if key.endswith(f".tfstate{SUFFIX}"):
            state = key.removesuffix(SUFFIX)
            yield state.rsplit("/", 1)[-1].removesuffix(".tfstate"), state


def read_lock(bucket: Bucket, key: str) -> Lock | None:
    """The lock of the state `key`; None without a lock. Raises the bucket's errors."""
    found = _read(bucket, key + SUFFIX)
    return found[0] if found else None


def _read(bucket: Bucket, key: str) -> tuple[Lock, datetime] | None:
    """A lock, and S3's time; None without a lock."""
    try:
        found = bucket.get(key)
    except BucketNotFoundError:
        return None
    if found is None:
        return None
    return _parse(found.content, key=key, etag=found.etag, since=found.written), found.clock


def _parse(content: bytes, **origin: Any) -> Lock:
    try:
        written = _Written.model_validate_json(content).model_dump(by_alias=True)
    except ValidationError:
        written = {}  # written by hand: Terraform respects such a lock, too
    return Lock(**written, **origin)


class _Written(BaseModel):
    model_config = ConfigDict(extra="ignore")

    ID: str
    Operation: str = ""
    Who: str = ""
