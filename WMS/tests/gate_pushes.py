"""Push after push: many challengers on the same test photos, each compared with the Production model of the moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from gate_worlds import ALPHA, difficulties, luck
from numpy.typing import NDArray

from wms.config import GateConfig
from wms.registry.gate_stats import Floats, compare_pairs
from wms.registry.gate_use import asked_confidence
from wms.registry.types import UseOfTestSet

PUSHES: Final = 50
GAIN: Final = 0.005
_SPENT: Final = GateConfig(min_confidence=1 - ALPHA, repeated_use=True)
_DEEPEST: Final = 40_000

Decided = NDArray[np.bool_]
Rule = Callable[[Floats, NDArray[np.int64]], Decided]
"""From differences (n, histories) and earlier comparisons with the Production model (histories,) to who passes."""


def of_record(differences: Floats, _earlier: NDArray[np.int64]) -> Decided:
    """A higher mean."""
    return np.asarray(differences.mean(axis=0) > 0)


def ladder_step(differences: Floats, _earlier: NDArray[np.int64]) -> Decided:
    """The Ladder of Blum and Hardt (2015) with a fixed step, which is `min_improvement: 0.01`."""
    return np.asarray(differences.mean(axis=0) > 0.01)


def ladder(differences: Floats, _earlier: NDArray[np.int64]) -> Decided:
    """Their Ladder without a parameter: the step is the standard error of the paired differences."""
    return np.asarray(differences.mean(axis=0) > differences.std(axis=0, ddof=1) / len(differences) ** 0.5)


def confident(differences: Floats, _earlier: NDArray[np.int64]) -> Decided:
    """`min_confidence: 0.95`."""
    return _sure(differences, ALPHA)


def one_error(differences: Floats, _earlier: NDArray[np.int64]) -> Decided:
    """`min_confidence: 0.84`: about one standard error, as the Ladder asks."""
    return _sure(differences, 0.16)


def spent(differences: Floats, earlier: NDArray[np.int64]) -> Decided:
    """`min_confidence: 0.95` with `repeated_use`."""
    passes = np.zeros(len(earlier), dtype=bool)
    for number in np.unique(earlier):
        use = UseOfTestSet(champion_version=1, comparisons=number, same_photos=number, per_photo=number, gained=0)
        same = earlier == number
        passes[same] = _sure(differences[:, same], 1 - asked_confidence(_SPENT, use))
    return passes


def _sure(differences: Floats, alpha: float) -> Decided:
    """Whether p-values are small enough; hopeless comparisons aren't resampled."""
    sums, squares = differences.sum(axis=0), (differences**2).sum(axis=0)
    # The tail of random sign flips is close to the normal one; 0.85 leaves room.
    hopeful = sums > 0.85 * NormalDist().inv_cdf(1 - alpha) * np.sqrt(squares)
    passes = np.zeros(len(sums), dtype=bool)
    if hopeful.any():
        resamples = int(min(_DEEPEST, max(999, 5 / alpha)))
        passes[hopeful] = compare_pairs(differences[:, hopeful], resamples=resamples).p_value <= alpha
    return passes


RULES: Final[dict[str, Rule]] = {
    "rule of record": of_record,
    "Ladder": ladder,
    "Ladder, step 0.01": ladder_step,
    "min_confidence 0.84": one_error,
    "min_confidence 0.95": confident,
    "with repeated_use": spent,
}


@dataclass(frozen=True)
class World:
    """The quality of each challenger, in Dice against the Production model of the moment.

    Models have luck as `luck` draws it with `failures`, or, if given, like the `differences` (photos,) of two real
    models: on each photo an independent part of one of them.
    """

    name: str
    steps: Sequence[float]
    failures: float = 0.0
    differences: Floats | None = None

    def draw(self, rng: np.random.Generator, difficulty: Floats) -> Floats:
        """Dice of models of one quality on photos of a given difficulty."""
        if self.differences is None:
            return luck(rng, difficulty, self.failures)
        own = self.differences - self.differences.mean()
        # The difference of two such draws has the deviation of the real differences.
        return np.asarray(rng.choice(own, difficulty.shape) / 2**0.5)


def every_fifth(other: float) -> list[float]:
    """One challenger in five is better by GAIN; the others differ by `other`."""
    return [GAIN if number % 5 == 4 else other for number in range(PUSHES)]


WORLDS: Final = (
    World("none is better", [0.0] * PUSHES),
    World("none is better, each fails on 3 %", [0.0] * PUSHES, 0.03),
    World("1 in 5 is better by 0.005", every_fifth(0.0)),
    World("1 in 5 is better by 0.005, the others worse by 0.005", every_fifth(-GAIN)),
)


@dataclass(frozen=True)
class History:
    """Means over all histories of PUSHES pushes; `any_false` is the share of histories with a false promotion."""

    false: float
    any_false: float
    true: float
    drift: float
    gained: float


def history(rule: Rule, world: World, n: int, *, seed: int, histories: int = 100) -> History:
    """Push after push on n photos.

    A promotion is false if the challenger isn't better. `drift` is the recorded Dice of the last Production model minus
    what a model of its quality scores on these photos on average; `gained` is its quality minus the first model's.
    """
    rng = np.random.default_rng(seed)
    difficulty = difficulties(rng, (n, histories))
    champion = world.draw(rng, difficulty)
    usual = champion.mean(axis=0)
    quality, false, true = np.zeros(histories), np.zeros(histories), np.zeros(histories)
    earlier = np.zeros(histories, dtype=np.int64)
    for step in world.steps:
        lucky = world.draw(rng, difficulty)
        usual += lucky.mean(axis=0)
        challenger = lucky + quality + step
        passes = rule(challenger - champion, earlier)
        champion = np.where(passes, challenger, champion)
        quality += step * passes
        if step > 0:
            true += passes
        else:
            false += passes
        earlier = np.where(passes, 0, earlier + 1)
    drift = champion.mean(axis=0) - quality - usual / (len(world.steps) + 1)
    return History(false.mean(), (false > 0).mean(), true.mean(), drift.mean(), quality.mean())
