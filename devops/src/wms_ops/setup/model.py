"""Adopts the model that an MLflow server has as Production already: the ledger of promotions begins with it."""

from __future__ import annotations

from typing import Final

from wms.errors import ModelNotFoundError, UsageError
from wms.registry import promotion
from wms.registry.adoption import propose_adoption
from wms.registry.mlflow_store import ModelRegistry, ModelVersion
from wms.registry.plan import Proposal
from wms.registry.promotion import PromotionClient
from wms.registry.standing import staged_versions
from wms.registry.types import PRODUCTION, STAGED

_FIRST: Final = "the first model of this project becomes Production by `wms promote RUN --force REASON`"


def adopt(promotions: PromotionClient, version: int | None, alias: str, *, who: str) -> str:
    """Begin the ledger with a version: the given one, else that of `alias`, else Production by alias or stage.

    Returns the sentence about what was done; nothing is done without any version. Raises UsageError if nothing says
    which version is Production, and the errors of `propose_adoption`.
    """
    registry = promotions.registry
    versions = registry.versions()
    if not versions:
        return f"{registry.server} has no model {registry.model} yet, so there is nothing to adopt: {_FIRST}."
    found, why = _wanted(registry, versions, version, alias)
    proposal = propose_adoption(promotions, found, reason=why)
    if isinstance(proposal, Proposal):
        proposal = promotion.execute(promotions, proposal, who=who)
    return proposal.text


def _wanted(
    registry: ModelRegistry, versions: tuple[ModelVersion, ...], version: int | None, alias: str
) -> tuple[int, str]:
    """Return a version and the reason for it, for the ledger."""
    if version is not None:
        return version, "named to wms init"
    name = alias or PRODUCTION
    if found := registry.alias(name):
        return found.version, f"alias {name}"
    if alias:
        named = sorted({one for each in versions for one in each.aliases})
        raise ModelNotFoundError(
            f"No version of {registry.model} at {registry.server} has the alias {alias}; the aliases are: "
            f"{', '.join(named) or 'none'}."
        )
    if staged := staged_versions(versions):
        return staged[-1].version, f"stage {STAGED} of MLflow 2"
    raise UsageError(
        f"{registry.server} has {len(versions)} versions of {registry.model}, but neither the alias {PRODUCTION} nor "
        f"MLflow 2's stage {STAGED}; name the version that serves: `wms init --adopt-model VERSION`, or its alias by "
        f"--alias. Without such a version {_FIRST}."
    )
