"""Begins a ledger with a version that is Production already but in no ledger: MLflow 2's stage, or a lost ledger."""

from __future__ import annotations

from typing import Final

from wms.errors import ModelDamagedError, ModelNotFoundError, UsageError
from wms.registry.facts import CARD, METADATA, ONNX, WEIGHTS, gather
from wms.registry.lineage import DATA
from wms.registry.mlflow_store import ModelVersion
from wms.registry.plan import NOTHING, PromotionFacts, Proposal, Standing
from wms.registry.promotion import PromotionClient, PromotionOutcome
from wms.registry.standing import staged_versions
from wms.registry.types import STAGED

_NEEDED: Final = (WEIGHTS, ONNX, CARD, DATA, METADATA)
_INSTEAD: Final = "train a model with this project and promote it with `wms promote RUN --force REASON`"


def propose_adoption(promotions: PromotionClient, version: int, *, reason: str = "") -> Proposal | PromotionOutcome:
    """Propose the ledger's first entry for `version`; a PromotionOutcome if the ledger has that version as Production.

    Raises UsageError if the ledger has other entries or another version is Production; ModelNotFoundError if the
    registry lacks the version or its run lacks an artifact that a promotion needs; ModelDamagedError, LineageError, and
    the errors of `PromotionClient.settle`.

    >>> client = PromotionClient("http://localhost:5000")
    >>> propose_adoption(client, 3, reason="moved from MLflow 2").text  # doctest: +SKIP
    'Adopt version 3 (run 0a1b...) as Production: the ledger begins with it; Dice 0.9012, IoU 0.8301; adopted: ...'
    """
    standing = promotions.settle(proven=False)
    if (head := standing.chain.head) is not None:
        if head.to_version == version:
            return PromotionOutcome(False, head, f"Version {version} is Production already, and the ledger knows it.")
        raise UsageError(
            f"The ledger of {promotions.registry.server} has entries: version {head.to_version} is Production. --adopt "
            f"only begins a ledger; go to another version with `wms rollback --version {version}`."
        )
    versions = promotions.registry.versions()
    found = next((one for one in versions if one.version == version), None)
    if found is None:
        raise ModelNotFoundError(f"The registry at {promotions.registry.server} has no version {version}.")
    _refuse_another(standing, versions, found)
    facts = _facts(promotions, found)
    words = f"adopted: {reason}" if reason else "adopted"
    return Proposal("adopt", facts, version, None, facts.measured, NOTHING, words)


def _refuse_another(standing: Standing, versions: tuple[ModelVersion, ...], found: ModelVersion) -> None:
    """Raise UsageError if alias or stage in the registry name another Production version; adopting replaces nothing."""
    if standing.production is not None:
        if standing.production != found.version:
            raise UsageError(
                f"The alias production is at version {standing.production}; adopt that one, then promote or roll back."
            )
    elif (staged := staged_versions(versions)) and found not in staged:
        raise UsageError(
            f"Version {staged[-1].version} is in the stage {STAGED} of MLflow 2, version {found.version} isn't; adopt "
            f"that one, or {_INSTEAD}."
        )


def _facts(promotions: PromotionClient, found: ModelVersion) -> PromotionFacts:
    name, registry = f"Version {found.version}", promotions.registry
    if not found.run_id:
        raise ModelNotFoundError(f"{name} names no run, so nobody knows where it is from; {_INSTEAD}.")
    run = registry.run(found.run_id)
    if missing := registry.absent_artifacts(run.run_id, _NEEDED):
        raise ModelNotFoundError(
            f"{name} can't be adopted: its run {run.run_id} lacks {', '.join(missing)}. Put back what was deleted; if "
            f"another project made that run, {_INSTEAD}."
        )
    facts = gather(registry, run.run_id)
    if found.tags.get("weights_sha256", facts.weights_sha256) != facts.weights_sha256:
        raise ModelDamagedError(
            f"{name} can't be adopted: it was promoted with other weights than its run {run.run_id} has now. Restore "
            f"{WEIGHTS} of that run, or {_INSTEAD}."
        )
    return facts
