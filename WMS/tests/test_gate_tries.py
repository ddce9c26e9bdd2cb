"""What counts as a looser second try, from values alone, and that records of other code are read as they were."""

from __future__ import annotations

from typing import Any

import pytest

from wms.config_gate import GateConfig, looser
from wms.errors import NotImprovedError
from wms.registry.chain import Chain
from wms.registry.gate_settings import GateSettings, GateTry, held_back
from wms.registry.plan import PromotionFacts, Standing, accept
from wms.registry.types import GateVerdict, Means

AT = "2026-11-28T12:00:00+00:00"
DICE = Means(dice=0.9, iou=0.8)


def settings(grid: int = 64, **values: Any) -> GateSettings:
    return GateSettings.of(GateConfig(**values), grid, "train.yaml of main at 0123456789ab")


def tried(decision: str, **values: Any) -> GateTry:
    return GateTry(decision=decision, run_id="a" * 32, weights_sha256="w", settings=settings(**values), decided_at=AT)


def names(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [name for name, _, _ in looser(before, now)]


def test_every_setting_says_which_change_is_stricter() -> None:
    """Else each change of the setting after a refusal holds the model back."""
    extras = {name: field.json_schema_extra for name, field in GateConfig.model_fields.items()}
    silent = [name for name, extra in extras.items() if not (isinstance(extra, dict) and "stricter" in extra)]
    assert silent == []


@pytest.mark.parametrize(
    ("strict", "loose"),
    [
        ({"mode": "enforce"}, {"mode": "dry-run"}),
        ({"mode": "dry-run"}, {"mode": "off"}),
        ({"min_improvement": 0.01}, {}),
        ({"min_confidence": 0.95}, {"min_confidence": 0.9}),
        ({"max_regression_per_image": 0.1}, {"max_regression_per_image": 0.2}),
    ],
)
def test_a_setting_is_looser_one_way_and_stricter_the_other(strict: dict[str, Any], loose: dict[str, Any]) -> None:
    assert names(strict, loose) == [next(iter(strict))]
    assert names(loose, strict) == names(strict, strict) == []
    assert names(strict, {**loose, "min_improvement": 0.5})[:1] in ([], [next(iter(strict))])


def test_looser_in_any_respect_counts_and_slices_do_not() -> None:
    before, now = {"min_confidence": 0.95, "slices": ["coverage"]}, {"min_confidence": 0.9, "min_improvement": 0.1}
    assert names(before, now) == ["min_confidence"]
    assert settings(grid=32).looser_than(settings(grid=64)) == "evaluation.grid was 64 and is 32"


def test_what_this_code_does_not_know_counts_as_looser() -> None:
    """A record of newer code has settings whose direction is unknown here; older code lacks those with a default."""
    assert names({"ladder": 0.01}, {}) == names({}, {"ladder": 0.01}) == ["ladder"]
    assert names({"ladder": 0.01}, {"ladder": 0.01}) == []
    assert names({"mode": "enforce"}, settings().values | {}) == []
    assert names({"min_confidence": "high"}, {"min_confidence": 0.95}) == ["min_confidence"]


def test_only_a_refusal_holds_back() -> None:
    assert held_back(settings(), [tried("improved", min_confidence=0.95)]) == ""
    assert held_back(settings(), [tried("not improved", mode="off", min_confidence=0.95)]) == "", "that one passed"
    assert held_back(settings(min_confidence=0.95), [tried("not improved", min_confidence=0.95)]) == ""
    told = held_back(settings(), [tried("improved"), tried("not improved", mode="dry-run", min_confidence=0.95)])
    assert told.startswith(f"The gate refused this model in run {'a' * 32} at {AT} under stricter settings: ")
    assert "min_confidence was 0.95 and is 0." in told and "--force REASON" in told


def verdict(**more: Any) -> GateVerdict:
    values = {"decision": "improved", "run_id": "r", "weights_sha256": "w", "challenger": DICE, "champion": DICE}
    return GateVerdict(**values, champion_version=None, test_images=5, test_version="t", decided_at=AT, **more)


def test_a_promotion_looks_at_the_record_by_itself() -> None:
    """The verdict may be of older code, or of a gate that began before the refusal of another one was kept."""
    facts, standing = PromotionFacts("r", "w", "o", DICE, "c", "h", "d", 5, 5, AT), Standing(Chain(), None)
    strict = tried("not improved", min_confidence=0.95)
    assert accept(facts, verdict(), standing) == verdict(), "a verdict of older code counts as it did"
    assert accept(facts, verdict(settings=settings()), standing, [tried("not improved")]).settings == settings()
    for found, word in ((verdict(), "Run the gate again with this code"), (verdict(settings=settings()), "0.95 and")):
        with pytest.raises(NotImprovedError, match=word):
            accept(facts, found, standing, [strict])
    with pytest.raises(NotImprovedError, match="held"):
        accept(facts, verdict(settings=settings(), held_back="held"), standing)
