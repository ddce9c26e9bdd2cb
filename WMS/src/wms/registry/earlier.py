"""What the verdicts on record say about a present one: the same model, the same question, another answer. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from wms.metrics import DICE, IOU
from wms.registry.gate_settings import GateTry
from wms.registry.types import GateVerdict, NoVerdict

SAME_SCORE: Final = 1e-6
"""Means of Dice and IoU that are nearer to each other are those of one model: a single pixel changes more."""


def tried_by(verdict: GateVerdict | NoVerdict | None) -> GateTry | None:
    """The verdict as it stays on record; None for a record without settings, as older code wrote them."""
    if not isinstance(verdict, GateVerdict) or verdict.settings is None:
        return None
    return GateTry(
        decision=verdict.decision,
        run_id=verdict.run_id,
        weights_sha256=verdict.weights_sha256,
        settings=verdict.settings,
        champion_version=verdict.champion_version,
        scores=verdict.challenger.named(),
        card_sha256=verdict.card_sha256,
        test_version=verdict.test_version,
        test_images=verdict.test_images,
        decided_at=verdict.decided_at,
    )


def scores_as(tried: GateTry, verdict: GateVerdict) -> bool:
    """Whether an earlier model scored on the same test photos as the verdict's, to within SAME_SCORE in each mean."""
    now = verdict.challenger.named()
    if tried.test_version != verdict.test_version or tried.scores.keys() != now.keys():
        return False
    return all(abs(mean - tried.scores[name]) <= SAME_SCORE for name, mean in now.items())


def contradiction(verdict: GateVerdict, earlier: Iterable[GateTry]) -> str:
    """The sentence that shows that the gate itself can't have let a model pass; empty if nothing shows that.

    Who writes to the registry may write a verdict and log it. Equal settings, photos and baseline give equal decisions
    about a model, and a rise that the recorded settings refuse lets nothing pass.
    """
    way = "find out who wrote it, or promote with --force REASON"
    if verdict.settings is None or verdict.mode == "off":
        return ""
    asked = (verdict.settings.values, verdict.settings.grid, verdict.test_version, verdict.champion_version)
    for one in earlier:
        before = (one.settings.values, one.settings.grid, one.test_version, one.champion_version)
        if (
            one.refused
            and before == asked
            and (one.weights_sha256 == verdict.weights_sha256 or scores_as(one, verdict))
        ):
            return f"The gate refused this model at {one.decided_at} by the same settings on the same photos; {way}."
    least = verdict.settings.values.get("min_improvement", 0.0)
    if verdict.champion_version is None or not isinstance(least, int | float):
        return ""
    rises = {name: getattr(verdict.challenger, name) - getattr(verdict.champion, name) for name in (DICE, IOU)}
    low = [name for name, rise in rises.items() if rise < least - 1e-9]  # a sum in another order differs by less
    told = f"Its verdict lets it pass, although {' and '.join(low)} didn't rise by more than {least:g}; {way}."
    return told if low else ""
