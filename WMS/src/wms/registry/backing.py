"""The evidence behind a ledger entry: it counts only with the verdict, the files and the data that it names.

A chain of hashes says that an entry wasn't edited, not that anybody decided it. Before a clone takes the newest entry
over from the registry, or carries it out, the run's verdict, files and data are compared with what the entry says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from wms.errors import LedgerError, LineageError, ModelDamagedError, ModelNotFoundError
from wms.registry.anchors import Witnesses
from wms.registry.chain import Chain
from wms.registry.facts import gather
from wms.registry.gate_settings import GateTry
from wms.registry.gate_tries import TryLog
from wms.registry.ledger import Ledger, LedgerEntry
from wms.registry.lineage import CARD
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.plan import PromotionFacts
from wms.registry.types import GateVerdict
from wms.registry.verdicts import read_verdict

_PERSONS: Final = ("forced: ", "adopted")
"""The beginnings of the verdict of a promotion without the gate: a person's word, which is on record in the entry."""

_MODEL: Final = ("run_id", "weights_sha256", "onnx_sha256", "data_version", "config_hash", "git_commit")


class _Unbacked(Exception):
    """Raised with what contradicts an entry."""


def require_backing(registry: ModelRegistry, chain: Chain, ledger: Ledger, witnesses: Witnesses, where: str) -> None:
    """Raise LedgerError unless evidence backs the entries of the registry's chain that neither main nor `ledger` has.

    Raises RegistryUnreachableError, RegistryError, the bucket's errors.
    """
    entries = chain.entries
    witnesses.check(entries, where)
    known = max(len(ledger.entries()), witnesses.merged(entries, where))
    require_transitions(entries, where, since=known)
    for count in range(known + 1, len(entries) + 1):
        require_evidence(registry, entries[:count], where)


def require_transitions(entries: Sequence[LedgerEntry], where: str, *, since: int = 0) -> None:
    """Raise LedgerError for an entry, after the first `since`, that can't follow from those before it. Pure."""
    for number in range(since, len(entries)):
        try:
            _require_transition(entries[:number], entries[number])
        except _Unbacked as error:
            raise _refusal(entries[number], where, error) from error


def require_evidence(registry: ModelRegistry, entries: Sequence[LedgerEntry], where: str) -> None:
    """Raise LedgerError unless the registry holds what the newest entry names.

    The version is of the entry's run, whose files and data have the entry's hashes; a promotion by the gate has its
    verdict. Raises RegistryUnreachableError, RegistryError.
    """
    entry = entries[-1]
    try:
        version = next((one for one in registry.versions() if one.version == entry.to_version), None)
        if version is None or version.run_id != entry.run_id:
            has = "isn't there" if version is None else f"is of run {version.run_id}"
            raise _Unbacked(f"version {entry.to_version} {has}, not of the entry's run {entry.run_id}")
        facts = gather(registry, entry.run_id)
        _compare_files(entry, facts)
        if entry.action == "promote" and not entry.verdict.startswith(_PERSONS):
            _compare_verdict(registry, entries, facts)
    except (_Unbacked, ModelDamagedError, ModelNotFoundError, LineageError) as error:
        raise _refusal(entry, where, error) from error


def _require_transition(before: Sequence[LedgerEntry], entry: LedgerEntry) -> None:
    head = before[-1] if before else None
    if head is not None and entry.from_version != head.to_version:
        raise _Unbacked(f"it says that version {entry.from_version} was Production, but version {head.to_version} was")
    if head is not None and entry.verdict.startswith("adopted"):
        raise _Unbacked("only a ledger's first entry adopts a version")
    known = next((one for one in reversed(before) if one.to_version == entry.to_version), None)
    if known is not None:
        for key in _MODEL:
            if getattr(known, key) != getattr(entry, key):
                raise _Unbacked(f"it gives version {entry.to_version} another {key} than entry {known.seq}")
    if entry.action == "rollback" and known is None and all(one.from_version != entry.to_version for one in before):
        raise _Unbacked(f"it rolls back to version {entry.to_version}, which never was Production")


def _compare_files(entry: LedgerEntry, facts: PromotionFacts) -> None:
    for key in _MODEL[1:]:
        if (found := getattr(facts, key)) != getattr(entry, key):
            raise _Unbacked(f"the run {entry.run_id} has the {key} {found[:12]}, not {getattr(entry, key)[:12]}")
    for name, digest in entry.files.items():
        if facts.files.get(name) != digest:
            raise _Unbacked(f"{name} of run {entry.run_id} isn't the one that was promoted")


def _compare_verdict(registry: ModelRegistry, entries: Sequence[LedgerEntry], facts: PromotionFacts) -> None:
    """Find the verdict that the entry follows from: in the log, or for one of older code with the run."""
    entry = entries[-1]
    if entry.gate is not None:
        log = TryLog(registry, entries[:-1]).read()
        named = [log.by_digest.get(entry.verdict_sha256)] if entry.verdict_sha256 else log.found
        passing = [one for one in named if one is not None and not one.refused]
        if not any(_is_about(one, entry) for one in passing):
            raise _Unbacked(f"no verdict in {log.where} lets run {entry.run_id} replace {_champion(entry)}")
        return
    verdict = read_verdict(registry, entry.run_id)
    if not isinstance(verdict, GateVerdict) or (verdict.decision != "improved" and verdict.mode != "off"):
        raise _Unbacked(f"the gate let no run {entry.run_id} pass")
    same = (verdict.run_id, verdict.weights_sha256) == (entry.run_id, facts.weights_sha256)
    if not same or verdict.champion_version != entry.from_version or verdict.challenger != entry.metrics:
        raise _Unbacked(f"the verdict in run {entry.run_id} is about another model, baseline or score")


def _is_about(tried: GateTry, entry: LedgerEntry) -> bool:
    """Whether a verdict is about the entry's run, weights, card, baseline and scores, as far as it knows them."""
    return (
        (tried.run_id, tried.weights_sha256) == (entry.run_id, entry.weights_sha256)
        and tried.champion_version == entry.from_version
        and (not tried.scores or tried.scores == entry.metrics.named())
        and tried.card_sha256 in ("", entry.files.get(CARD))
    )


def _champion(entry: LedgerEntry) -> str:
    return "nothing" if entry.from_version is None else f"version {entry.from_version}"


def _refusal(entry: LedgerEntry, where: str, error: Exception) -> LedgerError:
    return LedgerError(
        f"Entry {entry.seq} of {where} (version {entry.to_version}, by {entry.who} at {entry.at}) isn't backed: "
        f"{str(error).rstrip('.')}. Nothing was changed. Bring back what was lost, or, if nobody of you promoted it, "
        "delete that version of the ledger in MLflow and find out who wrote it."
    )
