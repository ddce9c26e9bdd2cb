"""What must hold for any scores: order doesn't matter, and two models never improve on each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from gate_values import NOW, RULE, evidence, judged
from hypothesis import given, settings
from hypothesis import strategies as st

from wms.config import GateConfig
from wms.registry.gate import judge

dices = st.lists(st.tuples(*[st.floats(0.125, 1, width=16)] * 2), min_size=1, max_size=8)


@given(dices, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=15)
def test_the_order_of_the_images_is_irrelevant(pairs: list[tuple[float, float]], random: Any) -> None:
    found = evidence([before for before, _ in pairs], [now for _, now in pairs])
    shuffled = list(found.images)
    random.shuffle(shuffled)
    gate = GateConfig(slices=("coverage",), min_confidence=0.5)
    forth = judge(found, gate, decided_at=NOW)
    assert judge(replace(found, images=tuple(shuffled)), gate, decided_at=NOW) == forth


@given(dices, st.sampled_from([0.0, 0.5, 0.95]), st.sampled_from([0.0, 0.01]))
@settings(deadline=None, max_examples=15)
def test_never_do_both_sides_improve_on_each_other(
    pairs: list[tuple[float, float]], confidence: float, improvement: float
) -> None:
    gate = GateConfig(min_confidence=confidence, min_improvement=improvement)
    one, other = [before for before, _ in pairs], [now for _, now in pairs]
    forth, back = judged(one, other, gate), judged(other, one, gate)
    assert not (forth.passes and back.passes)
    assert forth.dice.difference == -back.dice.difference
    assert forth.dice.probability == pytest.approx(1 - (back.dice.probability or 0))
    if not confidence and not improvement:
        both = forth.dice.difference * forth.iou.difference > 0
        assert (forth.passes or back.passes) == both


@given(dices)
@settings(deadline=None, max_examples=20)
def test_a_model_never_improves_on_itself(pairs: list[tuple[float, float]]) -> None:
    same = [before for before, _ in pairs]
    assert judge(evidence(same, same), RULE, decided_at=NOW).verdict.decision == "not improved"
