"""The places that vouch for a clone's ledger beside MLflow: main as last fetched, and the bucket of the data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wms.errors import LedgerError, WmsError
from wms.project import project
from wms.registry.anchors import NOBODY, MainHistory, Witnesses, entry_in, name_of
from wms.registry.ledger import HISTORY, Ledger, LedgerEntry, parse_history
from wms_ops.base.errors import StoreConfigError
from wms_ops.base.layout import MODELS, main_branch
from wms_ops.git.records import repo_of
from wms_ops.git.records_mend import content_of
from wms_ops.storage.config import read_remote
from wms_ops.storage.past import PastBucket
from wms_ops.storage.remote import S3Remote

FOLDER: Final = "wms/anchors"
"""The folder of the anchors below the DVC remote's prefix, with a folder for each registered model inside."""


@dataclass(frozen=True)
class BucketAnchors:
    """An AnchorPlace in the bucket: one conditional request keeps an object, so none is ever overwritten by this code.

    A bucket with versions keeps what another writer overwrites or deletes.
    """

    store: S3Remote
    model: str

    @property
    def where(self) -> str:
        """The folder's address."""
        return f"{self.store.config.url}/{FOLDER}/{self.model}"

    def names(self) -> Sequence[str]:
        """The names of all anchors. Raises the store's errors."""
        return [name.removeprefix(self._key("")) for name in self.store.notes(self._key(""))]

    def read(self, name: str) -> bytes | None:
        """The content under a name; None if there is none. Raises the store's errors."""
        return self.store.read_note(self._key(name))

    def create(self, name: str, content: bytes) -> bool:
        """Keep `content` unless the name is taken; return whether it was free. Raises the store's errors."""
        return self.store.create_note(self._key(name), content)

    def _key(self, name: str) -> str:
        return f"{FOLDER}/{self.model}/{name}"


@dataclass(frozen=True)
class ReturningAnchors(BucketAnchors):
    """The bucket's anchors as they will be once a restore of the bucket has brought those of `entries` back."""

    entries: Sequence[LedgerEntry]

    def names(self) -> Sequence[str]:
        """The names of all anchors, also of deleted ones of `entries`. Raises the store's errors."""
        present = super().names()
        return [*present, *(name for one in self.entries if (name := name_of(one)) not in present and self.read(name))]

    def read(self, name: str) -> bytes | None:
        """The content under a name: the newest version that is the entry which the name says, if there is one."""
        past, key = PastBucket(self.store.bucket), self.store.config.inside(self._key(name))
        contents = (past.read(key, one) for found in past.histories(key) for one in found.versions)
        return next((one for one in contents if entry_in(name, one)), None) or super().read(name)


def witnesses_of(ledger: Path, model: str, environ: Mapping[str, str] | None = None) -> Witnesses:
    """The witnesses of the ledger in the folder `ledger`: none outside of a clone, no bucket without an S3 remote.

    `environ` replaces the process's environment when keys are searched. Raises LedgerError for a damaged ledger on
    main. No request is sent before the bucket has to be asked.
    """
    repo = repo_of(ledger)
    if repo is None:
        return NOBODY
    try:
        bucket = BucketAnchors(S3Remote(read_remote(repo, environ=environ), environ), model)
    except StoreConfigError:  # a project without a bucket, or with one that isn't S3
        bucket = None
    return Witnesses(main_history(repo), bucket)


def unbacked(entries: Sequence[LedgerEntry], ledger: Path, model: str, registry: str = "") -> WmsError | None:
    """What the witnesses of a ledger say against its entries, for a command that only shows them; None if nothing.

    `registry` is the place of a registry's entries; without it they are those of the folder `ledger`, which may be
    behind main. A LedgerError is about an entry that nobody vouches for, any other error about a witness that can't
    be asked.
    """
    where = registry or str(Ledger(ledger).history)
    try:
        witnesses = witnesses_of(ledger, model)
        if not registry and witnesses.main and witnesses.main.entries[: len(entries)] == tuple(entries):
            return None
        witnesses.check(entries, where)
    except LedgerError as error:
        return error
    except WmsError as error:
        return type(error)(f"Whether main or the bucket backs entry {len(entries)} of {where} isn't known: {error}")
    return None


def main_history(repo: Path) -> MainHistory:
    """The ledger's entries on the remote's main as last fetched; none if that was never fetched."""
    name = f"{project().remote}/{main_branch()}"
    content = content_of(repo, f"refs/remotes/{name}", f"{MODELS}/{HISTORY}")
    return MainHistory(parse_history(content or b"", f"{HISTORY} of {name}"), f"main ({name} as last fetched)")
