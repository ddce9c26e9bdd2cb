"""The collection of all that the gate decides from: both models, scored now, and every reason for doubt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wms.config import RunConfig
from wms.data.pairs import Pair
from wms.data.splits import SplitRecord
from wms.data.versions import DataItem, data_version
from wms.errors import CannotDecideError, ModelNotFoundError
from wms.registry import gate_trust
from wms.registry.anchors import Witnesses
from wms.registry.chain import Chain, RegistryLedger
from wms.registry.gate import CANNOT, refusal
from wms.registry.gate_tries import TryLog
from wms.registry.gate_types import GateEvidence, GateModel
from wms.registry.ledger import Ledger, LedgerEntry
from wms.registry.mlflow_store import ModelRegistry, ModelVersion
from wms.registry.standing import read_standing
from wms.text import counted
from wms_ops.gate.images import find_files
from wms_ops.gate.models import Contestant, fetch, scored_others
from wms_ops.gate.scoring import score_images
from wms_ops.gate.witnesses import witnesses_of
from wms_ops.git.records import require_sound


@dataclass(frozen=True)
class Gathered:
    """The evidence, and the models and files from which pictures are made."""

    evidence: GateEvidence
    challenger: Contestant
    champion: Contestant | None
    files: Mapping[DataItem, Pair]


def gather(
    registry: ModelRegistry,
    run: str,
    config: RunConfig,
    *,
    ledger: Path,
    witnesses: Witnesses | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Gathered:
    """Score the run (its id or name) and the Production model on the challenger's test images.

    `config` names the data set, the split record and the grid on which masks are compared; with gate.mode off an
    objection to the champion is only a doubt. `ledger` is the folder of the ledger of promotions, `witnesses` what
    vouches for it (None: what the folder's clone names). Raises
    CannotDecideError, SplitError, LedgerError, ModelNotFoundError for an unknown run, RegistryUnreachableError,
    RegistryError.
    """
    version, chain = _production(registry, ledger, witnesses)
    tries = TryLog(registry, chain.entries).read()
    found = registry.find_run(run)
    challenger = fetch(registry, found, None)
    test = gate_trust.test_images(challenger.items)
    record = {line.sha256: line.split for line in SplitRecord(config.data.splits_file).entries}
    doubts = gate_trust.contradictions(test, challenger.items, record)
    doubts += gate_trust.leaks(test, challenger.items, "the challenger")
    doubts += [tries.fault] if tries.faults else []
    champion, notes = None, _notes_about_choice(scored_others(registry, found, tries.found))
    if version is not None:
        try:
            champion = _champion(registry, version)
            doubts += _doubts_about(champion, test, chain.about(version.version))
            notes += _notes_about(champion, challenger, test)
        except CannotDecideError as error:
            doubts.append(str(error).removeprefix(CANNOT))
    if doubts and config.gate.mode != "off":
        raise refusal(*doubts)  # before scoring, which takes minutes
    files = find_files(test, config.data.folder, config.data.cache_folder / "hashes.json")
    images = score_images(
        files,
        challenger.predictor,
        champion.predictor if champion else None,
        data=config.data,
        grid=config.evaluation.grid,
        on_progress=on_progress,
    )
    evidence = GateEvidence(
        challenger=challenger.side,
        champion=champion.side if champion else None if version is None else _unknown(version),
        images=images,
        test_version=data_version(test),
        grid=config.evaluation.grid,
        doubts=tuple(doubts),
        notes=tuple(notes),
        earlier=tries.found,
    )
    return Gathered(evidence, challenger, champion, files)


def _doubts_about(champion: Contestant, test: Sequence[DataItem], entry: LedgerEntry | None) -> list[str]:
    side = champion.side
    doubts = gate_trust.leaks(test, champion.items, "the Production model")
    doubts += gate_trust.moved(test, champion.items)
    if entry and entry.weights_sha256 != side.weights_sha256:
        doubts.append(
            f"version {side.version} holds other weights than those which were promoted, says the ledger; look into it "
            "with `wms versions`."
        )
    return doubts


def _notes_about(champion: Contestant, challenger: Contestant, test: Sequence[DataItem]) -> list[str]:
    notes = []
    ways = challenger.side.preprocessing, champion.side.preprocessing
    if ways[0] != ways[1]:
        notes.append(
            f"Each model gets the photos as its own card says: the challenger by {ways[0]}, the Production model by "
            f"{ways[1]}."
        )
    if redrawn := gate_trust.redrawn(test, champion.items):
        notes.append(
            f"Masks were redrawn since the Production model was trained ({len(redrawn)}, {redrawn[0]} among them); "
            "both models are compared with the new ones."
        )
    return notes


def _notes_about_choice(others: Sequence[str]) -> list[str]:
    if not others:
        return []
    verb = "was" if len(others) == 1 else "were"
    return [
        f"{counted(len(others), 'other attempt')} of the challenger's training {verb} scored on test images too "
        f"({', '.join(others[:3])}), so the choice may not be validation's alone."
    ]


def _production(
    registry: ModelRegistry, ledger: Path, witnesses: Witnesses | None
) -> tuple[ModelVersion | None, Chain]:
    """Return the Production version, None only before the first promotion, and the chain of promotions."""
    require_sound(ledger)
    entries = RegistryLedger(registry.uri, registry.model)
    known = witnesses or witnesses_of(ledger, registry.model)
    standing = read_standing(registry, entries, Ledger(ledger), witnesses=known)
    if standing.production is None:
        return None, standing.chain
    for version in registry.versions():
        if version.version == standing.production:
            return version, standing.chain
    raise refusal(
        f"the ledger says that version {standing.production} is Production, but {registry.server} doesn't have it. "
        "Roll back to another version by `wms rollback --version N`."
    )


def _unknown(version: ModelVersion) -> GateModel:
    """Return a stand-in for a Production model that couldn't be fetched."""
    return GateModel(version.run_id, "unknown", version.version, "unknown", "unknown", 0)


def _champion(registry: ModelRegistry, version: ModelVersion) -> Contestant:
    try:
        run = registry.run(version.run_id)
    except ModelNotFoundError as error:
        raise refusal(
            f"the run {version.run_id} of the Production model, version {version.version}, is gone; bring it back "
            f"with `mlflow runs restore --run-id {version.run_id}`, or promote with `wms promote --force REASON`."
        ) from error
    return fetch(registry, run, version.version)
