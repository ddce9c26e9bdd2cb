"""The promotions in the registry: a chain of entries with a real compare-and-set.

MLflow moves an alias without comparing its old value, so an alias can't decide a race. MLflow does promise that
versions of a registered model get ascending numbers, each visible before the next is given, and that a version and
its tags appear together. So each ledger entry is a version of the registered model `<model>.ledger`. An
entry names the hash of the entry before; if several entries name the same hash, the lowest number counts and the
others are lost. Every reader of the versions computes the same chain. No lock exists, so none can be left behind.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from wms.errors import LedgerError
from wms.registry.ledger import CURRENT, FIRST, LedgerEntry, parse_entry
from wms.registry.mlflow_store import ModelRegistry, ModelVersion

SUFFIX = ".ledger"
ENTRY, DONE, WRITER = "entry", "done", "writer"
"""Tags of a version of the ledger: the entry's JSON; the entry is carried out in the registry; its writer."""


@dataclass(frozen=True)
class Chain:
    """The entries that count, oldest first, their version numbers in the registry, and the numbers carried out.

    `beyond` are entries whose predecessor was deleted; only `RegistryLedger.remains` returns a chain with such.
    """

    entries: tuple[LedgerEntry, ...] = ()
    numbers: tuple[int, ...] = ()
    done: frozenset[int] = frozenset()
    beyond: tuple[LedgerEntry, ...] = ()

    @property
    def head(self) -> LedgerEntry | None:
        """The newest entry, None before the first promotion."""
        return self.entries[-1] if self.entries else None

    @property
    def settled(self) -> bool:
        """Whether the newest entry is carried out in the registry."""
        return not self.numbers or self.numbers[-1] in self.done

    def about(self, version: int) -> LedgerEntry | None:
        """The newest entry by which a version became Production."""
        return next((entry for entry in reversed(self.entries) if entry.to_version == version), None)


def resolve(versions: Sequence[ModelVersion], where: str) -> Chain:
    """Compute the chain from the ledger's versions. Raises LedgerError if a version is damaged or was deleted."""
    chain = _remains(versions, where)
    if chain.beyond:
        raise LedgerError(
            f"Entry {chain.beyond[0].seq} of {where} follows an entry that is gone: somebody deleted a version of the "
            "ledger; bring it back with `wms restore`."
        )
    return chain


def _remains(versions: Sequence[ModelVersion], where: str) -> Chain:
    """Compute the chain as far as the versions reach, and the entries beyond a deleted one."""
    after: dict[str, list[tuple[LedgerEntry, int]]] = {}
    for version in sorted(versions, key=lambda v: v.version):
        if ENTRY in version.tags:  # else made by hand; nobody has promoted anything with it
            entry = parse_entry(version.tags[ENTRY], f"Version {version.version} of {where}")
            after.setdefault(entry.previous_hash, []).append((entry, version.version))
    found: list[tuple[LedgerEntry, int]] = []
    last: LedgerEntry | None = None
    # By hashes, not by numbers: an entry that a restore has added again has a higher number than its successors.
    # Of several entries after the same one, the lowest number counts: skipping the others decides their race.
    while one := next((one for one in after.pop(last.hash if last else FIRST, ()) if one[0].follows(last)), None):
        found.append(one)
        last = one[0]
    done = frozenset(v.version for v in versions if v.tags.get(DONE) == "true")
    beyond = sorted((entry for rest in after.values() for entry, _ in rest), key=lambda entry: entry.seq)
    return Chain(tuple(entry for entry, _ in found), tuple(number for _, number in found), done, tuple(beyond))


def missing_from(local: Sequence[LedgerEntry], chain: Chain, where: str, server: str) -> tuple[LedgerEntry, ...]:
    """Return the chain's entries that a local ledger lacks. Raises LedgerError if chain and local ledger contradict."""
    for mine, theirs in zip(local, chain.entries, strict=False):
        if mine != theirs:
            raise LedgerError(
                f"Entry {mine.seq} of {where} isn't the one that the registry at {server} has; restore the file from "
                f"Git, or check that MLFLOW_TRACKING_URI names the registry that it belongs to."
            )
    if len(local) > len(chain.entries):
        raise LedgerError(
            f"{where} has {len(local)} entries, but the registry at {server} knows {len(chain.entries)} only; check "
            f"that MLFLOW_TRACKING_URI names the registry that it belongs to. If that is lost, `wms restore` rebuilds "
            f"it. To begin anew instead, move {where} and {CURRENT} beside it away; a new ledger then begins with a "
            f"first training, or with `wms promote --adopt VERSION` where versions are left."
        )
    return chain.entries[len(local) :]


class RegistryLedger:
    """The chain in the registry: reads the chain, adds an entry, marks the newest entry as carried out."""

    def __init__(self, uri: str, model: str) -> None:
        self._versions = ModelRegistry(uri, model=model + SUFFIX)
        self.where = f"{model + SUFFIX} at {self._versions.server}"

    def read(self) -> Chain:
        """Read the current chain. Raises LedgerError, RegistryUnreachableError, RegistryError."""
        return resolve(self._versions.versions(), self.where)

    def remains(self) -> Chain:
        """Read the chain as far as versions are left, also where some were deleted. Raises as `read` does otherwise."""
        return _remains(self._versions.versions(), self.where)

    def add(self, entry: LedgerEntry) -> tuple[Chain, bool]:
        """Add an entry; return the new chain and whether this call's entry counts (False: another process was quicker).

        Two promotions of a run in the same second write equal entries, and after a lost answer a single call writes
        twice. So neither the entry nor its number identifies the writer; a random tag does.
        """
        writer = uuid.uuid4().hex
        self._versions.add_version(entry.run_id, {ENTRY: entry.line, WRITER: writer})
        versions = self._versions.versions()
        chain = _remains(versions, self.where)  # a restore adds several deleted entries, one after the other
        return chain, any(v.version in chain.numbers and v.tags.get(WRITER) == writer for v in versions)

    def mark_done(self, chain: Chain) -> None:
        """Mark the chain's newest entry as carried out."""
        if not chain.settled:
            self._versions.set_version_tags(chain.numbers[-1], {DONE: "true"})
