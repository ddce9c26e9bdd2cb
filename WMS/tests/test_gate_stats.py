"""The gate's statistics: how often equal models pass, how often better ones are seen; measured and printed."""

from __future__ import annotations

import numpy as np
import pytest
from gate_worlds import skewed, two_models
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wms.registry.gate_stats import LEVEL, Floats, compare_pairs, detectable

SIZES = (20, 60, 200)
COMPARISONS = 1200
# Two standard errors of a share of 0.05 among so many comparisons.
NOISE = 2 * (0.05 * 0.95 / COMPARISONS) ** 0.5

EQUAL = {"alike": two_models(0), "with failures": two_models(0.03), "skewed": skewed}


@pytest.mark.parametrize("name", EQUAL)
@pytest.mark.parametrize("n", SIZES)
def test_equal_models_pass_one_time_in_twenty(name: str, n: int, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(11)
    differences = EQUAL[name](rng, (n, COMPARISONS))
    equal = compare_pairs(differences, resamples=999)
    better = compare_pairs(differences[:, :300] + 0.02, resamples=999)
    size = float((equal.p_value <= 0.05).mean())
    power = float((better.p_value <= 0.05).mean())
    inside = float(((equal.low <= 0) & (equal.high >= 0)).mean())
    record, record_power = float((equal.mean > 0).mean()), float((better.mean > 0).mean())
    with capsys.disabled():
        print(
            f"\n{name}, {n} images: equal models pass {size:.3f} (rule of record {record:.2f}), at +0.02 Dice "
            f"{power:.2f} ({record_power:.2f}); the interval covers {inside:.3f}"
        )
    assert size <= 0.05 + NOISE
    assert 0.44 <= record <= 0.6, "a bare comparison of means passes equal models about half the time"
    assert inside >= 0.8
    if n == 200:
        assert power > (0.4 if name == "with failures" else 0.95), (
            "a test that never passes anything would be honest, too"
        )
    assert record_power >= power


def test_rare_failures_fool_this_test_less_than_a_percentile_bootstrap(capsys: pytest.CaptureFixture[str]) -> None:
    """The limit of every such test: what is so rare that the test set mostly lacks it. docs/gate.md tells it."""
    rng = np.random.default_rng(3)
    found = {}
    for n in SIZES:
        failures = np.where(rng.random((n, 600)) < 0.03, -0.2 * rng.random((n, 600)), 0.0)
        differences = failures + 0.03 * 0.1 + rng.normal(0, 0.01, (n, 600))  # mean 0, skewness about -4
        ours = compare_pairs(differences, resamples=999)
        found[n] = float((ours.p_value <= 0.05).mean()), float((ours.probability >= 0.95).mean())
    with capsys.disabled():
        print("\nrare failures, images: equal models that pass, (percentile bootstrap):", found)
    assert all(ours < percentile for ours, percentile in found.values())
    assert found[200][0] <= 0.1


def test_the_detectable_improvement_is_detected() -> None:
    rng = np.random.default_rng(5)
    for n in (30, 120):
        sample = two_models(0)(rng, (n, 1))[:, 0]
        smallest = detectable(sample, 0.95)
        fresh = rng.choice(sample - sample.mean(), (n, 400)) + smallest
        seen = (compare_pairs(fresh, resamples=999).p_value <= 0.05).mean()
        assert 0.7 <= seen <= 0.92


def test_more_images_detect_less() -> None:
    draw = two_models(0)
    found = [detectable(draw(np.random.default_rng(1), (n, 1))[:, 0], 0.95) for n in (20, 100, 399, 401, 4000)]
    assert found == sorted(found, reverse=True)


def test_too_few_images_are_never_sure() -> None:
    for n in range(1, 5):
        found = compare_pairs(np.full((n, 1), 0.3))
        assert found.p_value[0] > 1 - LEVEL
    assert compare_pairs(np.full((12, 1), 0.3)).p_value[0] < 0.01
    assert detectable(np.array([0.1]), 0.95) == 1.0
    one = compare_pairs(np.array([[0.1]]))
    assert (one.low[0], one.high[0]) == (-1, 1)


@given(arrays(np.float64, st.tuples(st.integers(1, 30), st.just(2)), elements=st.floats(-1, 1, width=32)))
@settings(deadline=None, max_examples=60)
def test_swapping_the_sides_mirrors_everything(differences: Floats) -> None:
    forth = compare_pairs(differences, resamples=199)
    back = compare_pairs(-differences, resamples=199)
    assert np.allclose(forth.mean, -back.mean)
    assert np.allclose(forth.low, -back.high, atol=1e-9)
    assert np.allclose(forth.probability, 1 - back.probability, atol=1e-9)
    assert not ((forth.p_value <= 0.05) & (back.p_value <= 0.05)).any()
    assert ((forth.low <= forth.mean) & (forth.mean <= forth.high)).all()
    for values in (forth.low, forth.high, forth.p_value, forth.probability):
        assert np.isfinite(values).all()
    assert ((forth.p_value > 0) & (forth.p_value <= 1)).all()


def test_what_is_not_a_finite_table_is_refused() -> None:
    for wrong in (np.zeros((0, 1)), np.zeros(3), np.array([[np.nan]])):
        with pytest.raises(ValueError, match="finite"):
            compare_pairs(wrong)


def test_no_difference_is_no_evidence() -> None:
    found = compare_pairs(np.zeros((50, 1)))
    assert (found.p_value[0], found.probability[0], found.low[0], found.high[0]) == (1, 0.5, 0, 0)
