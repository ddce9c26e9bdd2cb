"""How often a test set was asked about a Production model, and what that does to the confidence asked for. Pure.

Every comparison on the same photos is another chance for a model that is no better. With `repeated_use` the chance
that `min_confidence` leaves is spent over all comparisons with one Production model: alpha spending, as sequential
trials do it (Lan and DeMets, 1983). After a promotion the spending begins anew, as in alpha investing (Foster and
Stine, 2008).
"""

from __future__ import annotations

from typing import Final

from wms.config_gate import GateConfig
from wms.registry.gate_stats import RESAMPLES
from wms.registry.gate_types import GateEvidence
from wms.registry.types import UseOfTestSet

_MOST: Final = 199_999
_REACHED: Final = 10  # resamples that a p-value just good enough must lie beyond


def use_of(evidence: GateEvidence, images: int) -> UseOfTestSet | None:
    """Count the earlier decisions of the evidence for a comparison on so many images; None in a first training.

    Test photos stay test photos, so an earlier test set is a part of the present one, and its size gives the share.
    A decision of unknown size counts whole.
    """
    if evidence.champion is None or (version := evidence.champion.version) is None:
        return None
    others = {
        (tried.weights_sha256, tried.test_version): tried
        for tried in evidence.earlier
        if tried.champion_version == version and tried.weights_sha256 != evidence.challenger.weights_sha256
    }
    last = evidence.earlier[-1].test_images if evidence.earlier else None
    return UseOfTestSet(
        champion_version=version,
        comparisons=len({weights for weights, _ in others}),
        same_photos=sum(test == evidence.test_version for _, test in others),
        per_photo=sum(min(1.0, (tried.test_images or images) / images) for tried in others.values()),
        gained=None if last is None else images - last,
    )


def asked_confidence(settings: GateConfig, use: UseOfTestSet | None) -> float:
    """The confidence that a comparison must reach; 0 by the rule of record.

    With `repeated_use` the k-th comparison may err with 1 / (3 k) of the chance that `min_confidence` leaves. The first
    10 shares sum to less than 1. More comparisons keep the promise by measurement (`make prove-gate`: 50), because
    all of them share the Production model's luck.

    >>> round(asked_confidence(GateConfig(min_confidence=0.95, repeated_use=True), None), 4)
    0.9833
    """
    if not settings.repeated_use:
        return settings.min_confidence
    number = 1 + (use.per_photo if use else 0.0)
    return 1 - (1 - settings.min_confidence) / (3 * number)


def resamples_for(confidence: float) -> int:
    """The resamples that tell a p-value of 1 - `confidence` from a larger one."""
    return min(_MOST, max(RESAMPLES, round(_REACHED / (1 - confidence))))
