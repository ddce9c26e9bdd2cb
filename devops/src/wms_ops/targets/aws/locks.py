"""Terraform's locks in the state bucket: reads a lock's holder, and removes the lock of a dead holder.

Ages are S3's own: S3's clock gives both the time of the lock and the present time, so a machine's wrong clock doesn't
matter.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from wms.files import parse_json
from wms_ops.base.errors import BucketNotFoundError
from wms_ops.storage.bucket import Bucket

SUFFIX: Final = ".tflock"
GRACE: Final = timedelta(minutes=2)
"""The least age of a stale lock: between the lock and the lease's first heartbeat no process seems to be at work."""

LONGEST: Final = timedelta(minutes=30)
"""Terraform never gets longer, so an older lock is stale, whatever the lease says."""


class Lock(BaseModel):
    """The lock that Terraform wrote; `etag`, `since` and `age` are S3's. Unreadable fields are empty."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: str
    etag: str
    since: datetime
    age: timedelta
    id: str = Field("", alias="ID")
    operation: str = Field("", alias="Operation")
    who: str = Field("", alias="Who")

    def __str__(self) -> str:
        doing = self.operation.removeprefix("OperationType").lower() or "something"
        since = f"{self.since:%Y-%m-%d %H:%M:%S} UTC"
        return f"the lock {self.key}, held by {self.who or 'somebody'} for {doing} since {since}"


def is_stale(lock: Lock, is_held: bool, grace: timedelta = GRACE) -> bool:
    """Whether a lock's holder is gone: no process is at work (`is_held`, by the heartbeat), or the lock is too old."""
    return lock.age > LONGEST or (not is_held and lock.age >= grace)


def break_stale_lock(
    bucket: Bucket,
    key: str,
    *,
    is_held: bool,
    show: Callable[[str], None] = lambda _: None,
    grace: timedelta = GRACE,
    dry_run: bool = False,
) -> Lock | None:
    """Delete the lock of the state `key` if stale; returns the lock, None without a lock or if it stays.

    S3 compares the lock's ETag in the same request, and ids give each lock a different content. So the deletion hits
    the very lock that was judged, never a lock that was taken in between. `show` hears whose lock it was, or why it
    stays. Raises the bucket's errors.
    """
    lock = read_lock(bucket, key)
    if lock is None:
        return None
    if not is_stale(lock, is_held, grace):
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
    found = None
    with contextlib.suppress(BucketNotFoundError):
        found = bucket.get(key + SUFFIX)
    if found is None:
        return None
    origin = {"key": key + SUFFIX, "etag": found.etag, "since": found.written, "age": found.clock - found.written}
    try:
        return Lock.model_validate({**parse_json(found.content), **origin})
    except (ValueError, TypeError):  # written by hand: Terraform respects such a lock, too
        return Lock.model_validate(origin)
