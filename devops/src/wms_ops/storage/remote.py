"""The DVC remote in an S3 bucket: manifests and blobs under their MD5, moved without DVC's bookkeeping.

Keys are those of DVC 3: PREFIX/files/md5/ab/cdef..., a manifest's name ends in ".dir". Each object is written by one
request, so a killed upload leaves whole objects or none, and can be repeated.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from wms.errors import DataNotFoundError
from wms.files import write_atomic
from wms_ops.base.errors import DamagedBlobError, MissingBlobError
from wms_ops.storage.bucket import Bucket
from wms_ops.storage.client import Traffic, TrafficCounter, remote_client
from wms_ops.storage.config import RemoteConfig

T = TypeVar("T")
R = TypeVar("R")

WORKERS = 16
# Up to this many names each get a HEAD of their own. For more, one folder is listed to learn how full the
# folders are (MD5s spread evenly); then each folder is listed, unless it holds over LISTED_PER_HEAD times as
# many objects as are wanted. Measured: a HEAD takes the processor as long as 14 listed objects and moves
# as many bytes as 4.
FEW = 64
LISTED_PER_HEAD = 10
_NOTHING = hashlib.md5(b"", usedforsecurity=False).hexdigest()
_MANIFEST = ".dir"


@dataclass(frozen=True)
class UploadResult:
    """The result of an upload: counts of objects, and bytes of the bodies that were sent."""

    uploaded: int
    already_there: int
    bytes_sent: int


class S3Remote:
    """The remote `config`; safe to use from several threads. The constructor opens no connection.

    `environ` replaces the process's environment when credentials, profile and region are searched. Every method raises
    the errors of `check_access` when the store can't be used.
    """

    def __init__(self, config: RemoteConfig, environ: Mapping[str, str] | None = None) -> None:
        self.config = config
        given = os.environ if environ is None else environ
        self._counter = TrafficCounter()

        def connect() -> Any:
            client = remote_client(config, given, WORKERS)
            self._counter.watch(client)
            return client

        self._bucket = Bucket(config.bucket, connect, config)

    def at(self, prefix: str) -> S3Remote:
        """Return the remote at another prefix of the same bucket; both share connections and counted traffic."""
        other = copy.copy(self)
        other.config = replace(self.config, prefix=prefix)
        return other

    @property
    def bucket(self) -> Bucket:
        """The bucket itself, with the remote's keys: for keys outside of the prefix, and for versions of objects."""
        return self._bucket

    @property
    def traffic(self) -> Traffic:
        """This object's transfers so far; subtract an earlier value to measure one step."""
        return self._counter.traffic

    def check_access(self) -> None:
        """Make sure, with two requests that leave nothing behind, that the remote can be listed and written.

        Raises CredentialsMissingError, CredentialsExpiredError, AccessDeniedError, BucketNotFoundError, ClockSkewError,
        StoreConfigError or StoreUnreachableError.
        """
        self._bucket.try_listing()
        self._bucket.try_writing()

    def versioning(self) -> str | None:
        """Return "Enabled", "Suspended", or "" where the bucket never kept versions of its objects.

        None stands for a store without versions, or keys that may not ask.
        """
        return self._bucket.versioning()

    def read_manifest(self, oid: str) -> bytes:
        """Return the JSON bytes of the manifest `oid` ("<md5>.dir"). Raises MissingBlobError, DamagedBlobError."""
        return self._read(oid)

    def read_blob(self, oid: str, target: Path) -> None:
        """Write the blob `oid` to `target`, whole and verified or not at all.

        Raises MissingBlobError, DamagedBlobError, and the errors of `write_atomic`.
        """
        write_atomic(target, self._read(oid))

    def upload(self, items: Mapping[str, Path | bytes], progress: Callable[[int], None] | None = None) -> UploadResult:
        """Bring each item (a file or its content, by its MD5) to the remote, manifests after all blobs.

        Objects that the remote holds in full size aren't sent again. `progress` is called in the caller's thread with
        the bytes of each finished item, also of those that the remote had. Raises DamagedBlobError for content with
        another MD5 than its name says, DataNotFoundError for an unreadable file. After an error or a kill call again:
        sent objects are kept.
        """
        tell = progress or (lambda _: None)
        sizes = {oid: _size(content) for oid, content in items.items()}
        held = self._sizes(items)
        wanted = {oid for oid in items if held.get(oid) != sizes[oid]}
        for oid in items.keys() - wanted:
            tell(sizes[oid])
        sent = 0
        # Manifests last: a manifest in the remote promises that all of its blobs are stored.
        for manifests in (False, True):
            stage = [oid for oid in items if oid in wanted and oid.endswith(_MANIFEST) == manifests]
            for size in in_parallel(lambda oid: self._send(oid, items[oid]), stage):
                sent += size
                tell(size)
        return UploadResult(len(wanted), len(items) - len(wanted), sent)

    def missing(self, oids: Iterable[str]) -> set[str]:
        """Return those of `oids` that the remote doesn't hold.

        An empty object counts as missing unless `oid` is that of the empty file. Raises ManifestError for a name that
        is no MD5.
        """
        wanted = set(oids)
        return wanted - self._sizes(wanted).keys()

    def write_note(self, name: str, data: bytes) -> None:
        """Keep `data` under a name of this project's below the remote's prefix, outside of DVC's folders."""
        self._bucket.put(self.config.inside(name), data)

    def create_note(self, name: str, data: bytes) -> bool:
        """Keep `data` as `write_note` does unless the name is taken; returns whether the note was written."""
        return self._bucket.put_if(self.config.inside(name), data, None) is not None

    def read_note(self, name: str) -> bytes | None:
        """Return the content that `write_note` kept, or None."""
        found = self._bucket.get(self.config.inside(name))
        return None if found is None else found.content

    def notes(self, folder: str) -> list[str]:
        """Return the names of the notes in a folder, which ends with a slash, sorted."""
        prefix = self.config.inside("")
        return [key.removeprefix(prefix) for key in self._bucket.names(self.config.inside(folder))]

    def erase_note(self, name: str) -> int:
        """Delete a note in all its versions; return how many there were."""
        return self._bucket.erase(self.config.inside(name))

    def erase(self, oids: Iterable[str]) -> int:
        """Delete blobs in all their versions; return how many versions there were. Missing blobs don't matter."""
        return sum(in_parallel(lambda oid: self._bucket.erase(self.config.key(oid)), sorted(set(oids))))

    def _send(self, oid: str, content: Path | bytes) -> int:
        data = _verified(_bytes_of(content), oid, "in memory" if isinstance(content, bytes) else str(content))
        self._bucket.put(self.config.key(oid), data)
        return len(data)

    def _read(self, oid: str) -> bytes:
        found = self._bucket.get(self.config.key(oid))
        if found is None:
            raise MissingBlobError(
                f"{self.config.url} doesn't hold the object {oid}; run `dvc push` on the machine that has it, "
                "or go back to the last commit whose data is complete."
            )
        return _verified(found.content, oid, self.config.url)

    def _sizes(self, oids: Iterable[str]) -> dict[str, int]:
        """Return the size in bytes of each of `oids` that the remote holds."""
        by_key = {self.config.key(oid): oid for oid in oids}
        found: dict[str, int] = {}
        singly = set(by_key)
        if len(by_key) > FEW:
            found, singly = self._listed(singly)
        for key, facts in in_parallel(lambda key: (key, self._bucket.facts(key)), singly):
            if facts is not None:
                found[key] = facts.size
        return {oid: found[key] for key, oid in by_key.items() if key in found and (found[key] or oid == _NOTHING)}

    def _listed(self, keys: Iterable[str]) -> tuple[dict[str, int], set[str]]:
        """Return sizes in bytes as far as listing folders is worth the cost, and the keys left for single requests."""
        folders: dict[str, set[str]] = defaultdict(set)
        for key in keys:
            folders[key[: key.rindex("/") + 1]].add(key)
        sample, *others = sorted(folders)
        found = self._bucket.sizes(sample)
        held = len(found)
        singly = {name for name in others if held > LISTED_PER_HEAD * len(folders[name])}
        for listing in in_parallel(self._bucket.sizes, [name for name in others if name not in singly]):
            found |= listing
        return found, {key for name in singly for key in folders[name]}


def in_parallel(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield results as they come; the first failure is raised, and work that hasn't begun by then never begins."""
    with ThreadPoolExecutor(WORKERS) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _verified(data: bytes, oid: str, where: str) -> bytes:
    found = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if found != oid.removesuffix(_MANIFEST):
        raise DamagedBlobError(
            f"The object {oid} is damaged ({where}): the MD5 of its bytes is {found}; bring the whole file back "
            "from a machine that has it, then run it again."
        )
    return data


def _size(content: Path | bytes) -> int:
    with _readable(content):
        return len(content) if isinstance(content, bytes) else content.stat().st_size


def _bytes_of(content: Path | bytes) -> bytes:
    with _readable(content):
        return content if isinstance(content, bytes) else content.read_bytes()


@contextlib.contextmanager
def _readable(content: Path | bytes) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataNotFoundError(
            f"Can't read {content!s}: {error.strerror}; put the file back, then run it again."
        ) from error
