"""Repeated use of a test set: what is counted, what the counting asks for, and what one large loss says."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from gate_values import NOW, evidence, judged
from test_gate_recipe import recipe

from wms.config import GateConfig, parse_config
from wms.errors import ConfigError
from wms.registry.gate_settings import GateSettings, GateTry
from wms.registry.gate_stats import compare_pairs, detectable, hidden_share
from wms.registry.gate_use import asked_confidence, resamples_for, use_of

SURE = GateConfig(min_confidence=0.95)
SPENT = GateConfig(min_confidence=0.95, repeated_use=True)
BEFORE = [0.9 + 0.002 * (index % 5) for index in range(20)]
BETTER = [value + 0.004 + 0.006 * (index % 3 - 1) for index, value in enumerate(BEFORE)]


def decided(name: str, **changes: Any) -> GateTry:
    values = {"champion_version": 7, "test_version": "f" * 64, "test_images": 20, "decided_at": NOW, **changes}
    settings = GateSettings.of(GateConfig(), 512, "test")
    return GateTry(decision="not improved", run_id=name, weights_sha256=name, settings=settings, **values)


def test_earlier_comparisons_count_by_the_photos_that_they_had() -> None:
    earlier = (
        decided("a"),
        decided("a"),  # asked again: the same answer
        decided("b", test_version="e" * 64, test_images=10),
        decided("c", champion_version=6),  # another question
        decided("new" * 8),  # the challenger itself
        decided("d", test_images=None),  # unknown size counts whole
        decided("e", test_version="d" * 64, test_images=19),
    )
    found = use_of(evidence(BEFORE, BETTER, earlier=earlier), 20)
    assert found is not None
    assert (found.champion_version, found.comparisons, found.same_photos, found.gained) == (7, 4, 2, 1)
    assert found.per_photo == pytest.approx(1 + 0.5 + 1 + 0.95)
    assert found.text == (
        "4 other models met version 7 on this test set before, 2 on exactly these photos: 3.5 earlier comparisons for "
        "each photo. The test set gained 1 photo since the last decision."
    )


def test_a_first_comparison_says_so_and_a_first_training_counts_nothing() -> None:
    found = use_of(evidence(BEFORE, BETTER), 20)
    assert found is not None
    assert found.text == "This is the first comparison with version 7 on record."
    assert judged(None, BETTER, earlier=(decided("a"),)).verdict.use is None


def test_the_first_comparisons_together_err_no_more_than_min_confidence_allows() -> None:
    chances = []
    for number in range(10):
        use = use_of(evidence(BEFORE, BETTER, earlier=tuple(decided(f"model {index}") for index in range(number))), 20)
        chances.append(1 - asked_confidence(SPENT, use))
    assert chances == sorted(chances, reverse=True)
    assert 0.048 < sum(chances) <= 0.05
    assert asked_confidence(SURE, None) == 0.95
    assert asked_confidence(GateConfig(), None) == 0


def test_the_same_improvement_passes_at_first_and_not_after_many_others() -> None:
    fresh = judged(BEFORE, BETTER, SPENT)
    used = judged(BEFORE, BETTER, SPENT, earlier=tuple(decided(f"model {index}") for index in range(40)))
    assert fresh.passes
    assert not used.passes
    assert (
        "asks for 95.0 % over all comparisons with this Production model, which is 99.9593 %"
        in (used.verdict.reasons[0])
    )
    assert judged(BEFORE, BETTER, SURE, earlier=tuple(decided(f"model {index}") for index in range(40))).passes
    assert used.verdict.use is not None and used.verdict.use.comparisons == 40
    strong = [value + 0.02 + 0.001 * (index % 3) for index, value in enumerate(BEFORE)]
    assert judged(BEFORE, strong, SPENT, earlier=tuple(decided(f"model {index}") for index in range(40))).passes


def test_resamples_reach_as_far_as_the_confidence() -> None:
    assert [resamples_for(share) for share in (0, 0.95, 0.9998, 0.999999)] == [9_999, 9_999, 50_000, 199_999]
    gains = np.random.default_rng(1).normal(0, 0.02, 40)
    found = [detectable(gains, share) for share in (0.95, 0.99, 0.999, 0.9999)]
    # To 5 %: the first two are tried on resamples.
    assert all(more > 0.95 * less for less, more in pairwise(found))
    assert found[-1] < 0.03, "few trials, which can't show so high a confidence, would say 1"


def test_unseen_losses_are_covered_by_what_so_many_photos_can_lack() -> None:
    gains = np.full((35, 1), 0.007) + 0.001 * np.arange(-17, 18)[:, None] / 17
    assert compare_pairs(gains).p_value[0] < 0.001
    assert compare_pairs(gains, unseen=0.1).p_value[0] > 0.5
    assert compare_pairs(gains + 0.1 * hidden_share(35), unseen=0.1).p_value[0] < 0.001
    plain, careful = (detectable(gains[:, 0], 0.95, unseen=unseen) for unseen in (0, 0.1))
    assert careful - plain == pytest.approx(0.1 * hidden_share(35), rel=0.05)
    asked = {"min_confidence": 0.95, "unseen_loss": 0.1}
    before, now = [0.9] * 35, [0.9 + float(gain) for gain in gains[:, 0]]
    assert judged(before, now, SURE).passes
    assert not judged(before, now, GateConfig(**asked)).passes


def test_a_large_loss_on_one_photo_warns_and_blocks_only_where_set() -> None:
    before, now = [0.9, 0.9, 0.5, 0.5], [0.69, 0.65, 0.9, 0.9]
    report = judged(before, now)
    told = "meter_1 and 1 more photo lost over 0.2 Dice, at most 0.2500: look at them"
    assert report.passes
    assert any(told in warning for warning in report.verdict.warnings)
    allowed = judged(before, now, GateConfig(max_regression_per_image=0.3))
    assert allowed.passes
    assert not any(told in warning for warning in allowed.verdict.warnings)
    assert not judged(before, now, GateConfig(max_regression_per_image=0.2)).passes


@pytest.mark.parametrize("gate", [{"repeated_use": True}, {"unseen_loss": 0.1}])
def test_a_setting_without_min_confidence_is_refused(gate: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="min_confidence"):
        parse_config(recipe(**gate), "test")
    assert parse_config(recipe(min_confidence=0.95, **gate), "test").gate.min_confidence == 0.95
