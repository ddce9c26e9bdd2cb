"""Sessions in S3: an object each in the state bucket; a write fails if another process wrote meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Final

from wms_ops.base.errors import BucketNotFoundError, BusyError, PipelineError
from wms_ops.base.poll import insist
from wms_ops.cost.budget import LONGEST_MINUTES
from wms_ops.cost.sessions import Session
from wms_ops.storage.bucket import Bucket
from wms_ops.storage.client import account_of, make_client
from wms_ops.storage.names import SESSIONS, Names

_AT_ONCE: Final = 8
_WRITERS: Final = 12
"""Attempts to write a record that others write, too; each lost attempt means that another writer got through."""


class S3SessionStore:
    """Sessions in a bucket under sessions/<environment>/<launch id>.json.

    Every method raises the errors of wms_ops.storage.trouble.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def create(self, session: Session) -> None:
        """Keep a new session; the same session again is no mistake. Raises BusyError for another of this name."""
        key = _key(session.environment, session.launch_id)
        if not self._put(key, session, None) and self._get(key) != session:  # equal after a repeated request of ours
            raise BusyError(f"Another launch has the name {session.launch_id}; run it again, it gets a new one.")

    def read(self, environment: str, launch_id: str) -> Session | None:
        """Return a session, None for an unknown name. Raises PipelineError for a damaged record."""
        return self._get(_key(environment, launch_id))

    def change(self, environment: str, launch_id: str, change: Callable[[Session], Session]) -> Session | None:
        """Read, change and write a session, again after another writer's change; return the session then on record.

        None for an unknown name. Raises PipelineError for a damaged record, BusyError if others don't stop.
        """
        key = _key(environment, launch_id)
        return insist(lambda: self._change_once(key, change), BusyError, tries=_WRITERS)

    def sessions(self, environment: str | None = None, since: datetime | None = None) -> tuple[Session, ...]:
        """Return the sessions of an environment or of all, the oldest first; none before the first store.

        With `since` sessions that were over before may be left out. Raises PipelineError for a damaged record.
        """
        folder = f"{SESSIONS}/{environment}/" if environment else f"{SESSIONS}/"
        try:
            keys = [
                key
                for key in self._bucket.names(folder)
                if key.endswith(".json") and (since is None or _may_reach(key, since))
            ]
        except BucketNotFoundError:
            return ()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = [session for session in pool.map(self._get, keys) if session is not None]
        return tuple(sorted(found, key=lambda session: (session.begun_at, session.launch_id)))

    def _change_once(self, key: str, change: Callable[[Session], Session]) -> Session | None:
        tag, before = self._tagged(key)
        if before is None:
            return None
        after = change(before)
        if after != before and not self._put(key, after, tag):
            raise BusyError(f"Others keep changing s3://{self._bucket.name}/{key}; run it again in a minute.")
        return after

    def _put(self, key: str, session: Session, tag: str | None) -> bool:
        """Return whether the session was written over the version `tag` (None: as a new object)."""
        body = session.model_dump_json(indent=1).encode()
        return self._bucket.put_if(key, body, tag, ContentType="application/json") is not None

    def _get(self, key: str) -> Session | None:
        return self._tagged(key)[1]

    def _tagged(self, key: str) -> tuple[str, Session | None]:
        found = self._bucket.get(key)
        if found is None:
            return "", None
        where = f"The record s3://{self._bucket.name}/{key} of a session"
        return found.etag, Session.parse(found.content, where, PipelineError, "look at the object and delete it")


def make_store(region: str, account: str = "") -> S3SessionStore:
    """Return the sessions of this process's AWS account, in a region's state bucket.

    Raises the errors of wms_ops.storage.trouble, such as CredentialsMissingError.
    """
    names = Names("all", account or account_of(region), region)
    return S3SessionStore(Bucket(names.state_bucket, make_client("s3", region)))


def _key(environment: str, launch_id: str) -> str:
    return f"{SESSIONS}/{environment}/{launch_id}.json"


def _may_reach(key: str, since: datetime) -> bool:
    """Return whether a session may have lasted to `since`: launch ids begin with their day, lifetimes are limited."""
    first = since - timedelta(minutes=LONGEST_MINUTES) - timedelta(days=1)
    day = key.rpartition("/")[2][:8]
    return not day.isdecimal() or day >= f"{first:%Y%m%d}"
