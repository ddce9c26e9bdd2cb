"""Made-up comparisons for the gate's statistics: kinds of equal models, and what the tests say of them.

A kind draws the differences in Dice of equally good models on n photos, in k comparisons: (n, k), mean 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from wms.registry.gate_stats import LEVEL, Floats, compare_pairs

SIZES: Final = (20, 35, 60, 200)
"""Numbers of test photos."""
COMPARISONS: Final = 1000
UNSEEN: Final = 0.1
"""The `unseen_loss` tried: the mean loss of Dice on a photo where only the challenger fails."""
STEP: Final = 0.02
"""The improvement in Dice that is to be seen."""

ALPHA: Final = 1 - LEVEL
_RESAMPLES: Final = 999

Kind = Callable[[np.random.Generator, tuple[int, int]], Floats]


def luck(rng: np.random.Generator, difficulty: Floats, failures: float) -> Floats:
    """Dice of models of one quality on photos of a given difficulty; each model has luck of its own.

    On a share `failures` of the photos a model finds a part of the strip only. The Dice values are skewed as real
    ones: means about 0.93, medians about 0.945.
    """
    sound = 1 / (1 + np.exp(-(difficulty + rng.normal(0, 0.25, difficulty.shape))))
    return np.where(rng.random(difficulty.shape) < failures, sound * rng.random(difficulty.shape), sound)


def difficulties(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Difficulties of photos for `luck`."""
    return rng.normal(2.9, 0.7, shape)


def two_models(failures: float) -> Kind:
    """Two equally good models on photos of varied difficulty."""

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
        difficulty = difficulties(rng, shape)
        return luck(rng, difficulty, failures) - luck(rng, difficulty, failures)

    return draw


def skewed(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Mean 0, deviation 0.03, skewness -2: a little better mostly, much worse at times. The test's hard direction."""
    return 0.03 - rng.exponential(0.03, shape)


def heavy_tails(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Student's t with 3 degrees of freedom."""
    return 0.01 * rng.standard_t(3, shape)


def hard_photos(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """On a photo in ten the models differ ten times as much."""
    return rng.normal(0, np.where(rng.random(shape) < 0.1, 0.1, 0.01))


def ties(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """On seven photos in ten the models are exactly equal."""
    return np.where(rng.random(shape) < 0.7, 0.0, rng.normal(0, 0.02, shape))


def one_sided(rate: float, spread: float) -> Kind:
    """Only the challenger fails, on a share `rate` of the photos and by UNSEEN on average; else it is better.

    `spread` is the deviation of the differences on all other photos.
    """

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
        failed = rng.random(shape) < rate
        loss = np.where(failed, 2 * UNSEEN * rng.random(shape), 0.0)
        return rate * UNSEEN - loss + rng.normal(0, spread, shape)

    return draw


KINDS: Final[dict[str, Kind]] = {
    "two models alike": two_models(0),
    "each fails on 3 % of the photos": two_models(0.03),
    "mostly a little better, at times much worse (skewness -2)": skewed,
    "heavy tails (Student's t, 3 degrees)": heavy_tails,
    "hard photos: one in ten differs ten times as much": hard_photos,
    "ties: seven photos in ten are equal": ties,
    "only the challenger fails, on 3 %; else +-0.01": one_sided(0.03, 0.01),
    "only the challenger fails, on 3 %; else +-0.001": one_sided(0.03, 0.001),
}
RATES: Final = (0.01, 0.03, 0.05, 0.1, 0.2)
"""Shares of photos on which only the challenger fails."""


@dataclass(frozen=True)
class Passed:
    """Shares of comparisons that pass: equal models, and models that are better by STEP."""

    equal: float
    better: float
    equal_unseen: float
    better_unseen: float
    record: float


def passed(kind: Kind, n: int, *, seed: int, comparisons: int = COMPARISONS) -> Passed:
    """Compare at LEVEL, without and with an `unseen_loss` of UNSEEN, and by the rule of record."""
    differences = kind(np.random.default_rng(seed), (n, comparisons))
    some = differences[:, : comparisons // 2] + STEP

    def share(values: Floats, unseen: float) -> float:
        return float((compare_pairs(values, resamples=_RESAMPLES, unseen=unseen).p_value <= ALPHA).mean())

    return Passed(
        share(differences, 0),
        share(some, 0),
        share(differences, UNSEEN),
        share(some, UNSEEN),
        float((differences.mean(axis=0) > 0).mean()),
    )


def large_losses(kind: Kind, n: int, gain: float, *, seed: int, comparisons: int = 4000) -> dict[float, float]:
    """The share of comparisons in which some photo loses more than a limit, for models better by `gain`."""
    differences = kind(np.random.default_rng(seed), (n, comparisons)) + gain
    worst = -differences.min(axis=0)
    return {limit: float((worst > limit).mean()) for limit in (0.1, 0.2, 0.3)}
