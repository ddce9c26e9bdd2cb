"""The Production version, or proof that none ever was: the same answer for gate, promotion, baseline, loop and sync.

"Nothing was ever Production" lets any model pass, so proof is required: no alias, no entry in the registry's ledger
or in the local ledger, no stage of MLflow 2, and no version except those left by a killed first promotion. A failed
lookup is an error of the registry, never "nothing".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wms.errors import LedgerError
from wms.registry.anchors import NOBODY, Witnesses
from wms.registry.chain import RegistryLedger, missing_from
from wms.registry.ledger import Ledger, LedgerEntry
from wms.registry.mlflow_store import ModelRegistry, ModelVersion
from wms.registry.plan import ENTRY_NUMBER, PROMOTED, STATUS, Standing, is_begun
from wms.registry.types import PRODUCTION, STAGED


def read_standing(
    registry: ModelRegistry,
    entries: RegistryLedger,
    ledger: Ledger,
    *,
    trust_alias: bool = True,
    proven: bool = True,
    witnesses: Witnesses = NOBODY,
) -> Standing:
    """Read the registry's chain of promotions and the Production version, which is None only if none ever was.

    Without a ledger entry the version with the alias counts. Raises LedgerError if the local ledger or the tags of a
    version contradict the registry's ledger; if none of the `witnesses` knows an entry; if the alias isn't on the
    version of the newest entry (unless `trust_alias` is False); and if versions exist that may have been Production
    (unless `proven` is False: then a person takes responsibility). Raises RegistryUnreachableError, RegistryError,
    ModelNotFoundError.
    """
    while True:
        local = ledger.entries()  # first: what it has by now, the registry had before
        told = registry.versions()  # before the chain, too: an entry's tags are set after the entry
        chain = entries.read()
        if chain.head and (lost := lost_end(told, chain.head)):
            raise LedgerError(f"{entries.where} {lost.text}; bring them back with {_way(local, lost)}.")
        missing_from(local, chain, str(ledger.history), registry.server)
        witnesses.check(chain.entries, entries.where)
        doubt = ""
        if chain.head is None:
            found = registry.alias(PRODUCTION)
            production = found.version if found else None
            doubt = "" if found or not proven else _unknown_past(registry)
        else:
            production = chain.head.to_version
            doubt = _moved(registry, chain.head) if chain.settled and trust_alias else ""
        if (chain.head is None or doubt) and entries.read().head != chain.head:
            continue  # another promotion went on between the reads
        if doubt:
            raise LedgerError(doubt)
        return Standing(chain, production)


def require_entry(standing: Standing, server: str) -> None:
    """Raise LedgerError if a version is Production by its alias alone."""
    if standing.chain.head is None and standing.production is not None:
        raise LedgerError(
            f"Version {standing.production} at {server} has the alias {PRODUCTION}, but no ledger of promotions knows "
            f"it; begin one with `wms promote --adopt {standing.production}`."
        )


def _moved(registry: ModelRegistry, head: LedgerEntry) -> str:
    """Describe an alias that isn't on the version of the ledger's newest entry; else empty."""
    found = registry.alias(PRODUCTION)
    if found is not None and found.version == head.to_version:
        return ""
    has = f"is at version {found.version}" if found else "is gone"
    return (
        f"The alias {PRODUCTION} {has}, but by the ledger version {head.to_version} is Production: somebody "
        f"changed it by hand. Put it back with `wms restore`."
    )


@dataclass(frozen=True)
class LostEnd:
    """An entry that the tags of a version tell of, but that a ledger has lost: its number, and the words about both."""

    number: int
    text: str


def lost_end(versions: Sequence[ModelVersion], head: LedgerEntry) -> LostEnd | None:
    """Return the newest entry that the tags of the versions tell of beyond a ledger's newest entry, if any.

    Tags from before that entry may be of a former ledger, after which a new one was begun.
    """
    found: dict[int, str] = {}
    for version in versions:
        number, at = version.tags.get(ENTRY_NUMBER, ""), version.tags.get(PROMOTED, "").partition(" by ")[0]
        if number.isdecimal() and int(number) > head.seq and at >= head.at:
            found[int(number)] = f"the tags of version {version.version} tell of entry {number} at {at}"
    if not found:
        return None
    text = f"ends with entry {head.seq}, but {found[max(found)]}: somebody deleted versions of the ledger"
    return LostEnd(max(found), text)


def unvouched(versions: Sequence[ModelVersion], entries: Sequence[LedgerEntry]) -> tuple[LedgerEntry, ...]:
    """Return the entries behind the newest one of which the tags of its version tell: nothing vouches for them.

    An entry's hash covers the entry before, so tags about a later entry vouch for earlier ones, too.
    """
    tags = {(version.version, version.run_id): version.tags for version in versions}
    for number in range(len(entries), 0, -1):
        entry = entries[number - 1]
        present = tags.get((entry.to_version, entry.run_id), {})
        if present.get(ENTRY_NUMBER) == str(entry.seq) and present.get(PROMOTED) == f"{entry.at} by {entry.who}":
            return tuple(entries[number:])
    return tuple(entries)


def _way(local: Sequence[LedgerEntry], lost: LostEnd) -> str:
    """The commands that bring lost entries back; the first one is for a clone that lacks some of them, too."""
    return "`wms restore`" if len(local) >= lost.number else "`git pull`, then `wms restore`"


def _unknown_past(registry: ModelRegistry) -> str:
    """Reasons against a first training, though alias and ledger are absent; empty for a first training."""
    versions = registry.versions()
    if staged := staged_versions(versions):
        found, likely = f"{_named(staged)} in the stage {STAGED} of MLflow 2", staged[-1]
    elif left := [version for version in versions if not is_begun(version.tags)]:
        found = _named(left)
        likely = next((version for version in left if version.tags.get(STATUS) == PRODUCTION), left[-1])
    else:
        return ""
    return (
        f"The registry at {registry.server} has {found} of {registry.model}, but neither the alias {PRODUCTION} nor a "
        "ledger of promotions, so this is no first training. Say which version is Production, for example with "
        f"`wms promote --adopt {likely.version}`."
    )


def staged_versions(versions: Sequence[ModelVersion]) -> list[ModelVersion]:
    """The versions that MLflow 2 had in its stage Production."""
    return [version for version in versions if version.stage == STAGED]


def _named(versions: Sequence[ModelVersion]) -> str:
    if len(versions) == 1:
        return f"version {versions[0].version}"
    shown = ", ".join(str(version.version) for version in versions[-3:])
    return f"{len(versions)} versions ({'' if len(versions) <= 3 else '..., '}{shown})"
