"""Statistics of paired differences: is the challenger better on the same images, or was it luck?

All resampling is seeded and shared by all columns, so that equal differences always give equal results.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

RESAMPLES: Final = 9_999
SEED: Final = 20_261_121
LEVEL: Final = 0.95
"""Coverage of the interval."""
POWER: Final = 0.8
"""How often the smallest detectable improvement is found."""

_MANY: Final = 400
_TRIALS, _TRIAL_RESAMPLES = 200, 499
_MIN_BEYOND: Final = 4  # trial resamples that a p-value just good enough lies beyond
_AT_ONCE: Final = 4_000_000  # resampled values in memory: 32 MB
_SAME: Final = 1e-12  # sums that differ by less are ties

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Paired:
    """Results for k columns of differences, each an array (k,) of float64.

    `low` and `high` bound the mean difference (bootstrap-t, LEVEL); `probability` is the share of bootstrap
    resamples whose mean is above 0, a tie counting half; `p_value` bounds the chance that a model which is no
    better shows so large a difference.
    """

    mean: Floats
    low: Floats
    high: Floats
    probability: Floats
    p_value: Floats


def compare_pairs(differences: Floats, *, resamples: int = RESAMPLES, unseen: float = 0.0) -> Paired:
    """Compare paired differences (n, k), challenger minus champion, column by column.

    The p-value is the largest of three tests, because each alone passes too many equal models somewhere: sign
    flips (exact where differences are symmetric, however long their tails), the bootstrap-t, and the bootstrap of
    Hall's transformed t ("On the removal of skewness by transformation", 1992), both for skewed differences.

    With `unseen` above 0 the p-value also holds if the challenger loses so much, on average, on a kind of photo that
    the n images happen to lack: see `hidden_share`.

    Raises ValueError for an empty or non-finite array.

    >>> found = compare_pairs(np.full((20, 1), 0.01))
    >>> float(found.probability[0]), bool(found.p_value[0] < 0.05)
    (1.0, True)
    """
    if differences.ndim != 2 or not differences.size or not np.isfinite(differences).all():
        raise ValueError("paired differences are a finite (n, k) array")
    n = len(differences)
    mean = differences.mean(axis=0)
    centred = differences - mean
    variance = (centred**2).mean(axis=0)
    rng = np.random.default_rng(SEED)
    hidden = unseen * hidden_share(n)
    flipped = _flips(differences - hidden, rng, resamples)
    means, variances, skews = _moments(centred, rng, resamples)
    # Equal differences have no variance: a t statistic is undefined, and the sign flips alone decide.
    varied = variance > _SAME**2
    # A resample that repeats a single image has no variance of its own: infinitely far out.
    whole = variances > 1e-18 * np.maximum(variance, _SAME)
    away = np.where(means > _SAME, np.inf, np.where(means < -_SAME, -np.inf, 0.0))
    scale = np.sqrt(np.where(whole, variances, 1.0))
    ratios = np.where(whole, means / scale, away)
    observed = (mean - hidden) / np.sqrt(np.where(varied, variance, 1.0))
    skew = (centred**3).mean(axis=0) / np.where(varied, variance, 1.0) ** 1.5
    with np.errstate(invalid="ignore"):
        transformed = np.where(whole, _hall(np.where(whole, ratios, 0.0), skews, n), away)
    p_t = _tail(ratios, observed)
    p_hall = _tail(transformed, _hall(observed, skew, n))
    worst = np.where(varied, np.maximum.reduce([flipped, p_t, p_hall]), flipped)
    # A single image says nothing about the spread, so its interval is the whole range -1..1 around the mean.
    low, high = _interval(mean, np.sqrt(variance), ratios) if n > 1 else (mean * 0 - 1, mean * 0 + 1)
    better = (means + mean > _SAME).mean(axis=0) + (np.abs(means + mean) <= _SAME).mean(axis=0) / 2
    return Paired(mean, low, high, better, _guarded(worst, n))


def hidden_share(n: int) -> float:
    """The share of photos of a kind that n images lack by chance in 1 - LEVEL of test sets; about 3 / n.

    Whatever is rarer stays unseen more often, so no test of n images alone can count on its absence.

    >>> round(hidden_share(35), 3)
    0.082
    """
    return float(1 - (1 - LEVEL) ** (1 / n))


def detectable(differences: Floats, confidence: float, *, unseen: float = 0.0) -> float:
    """The smallest true mean difference that so many images show at `confidence` in POWER of comparisons.

    `differences` is one column (n,). The test itself is tried on bootstrap resamples of the centred differences,
    shifted by ever smaller steps; from _MANY images on, and over 99 % confidence, the normal approximation does:
    (t_confidence + z_power) x deviation / sqrt(n). `unseen` as for `compare_pairs`. Returns 1 where no improvement
    would be seen; differences that are all equal show any improvement over what is hidden.
    """
    n = len(differences)
    centred = differences - differences.mean()
    if n < 2:
        return 1.0
    spread = float(centred.std(ddof=1))
    hidden = unseen * hidden_share(n)
    if spread <= _SAME:
        return hidden
    guess = hidden + (_critical(confidence, n) + _quantile(POWER)) * spread / n**0.5
    # Trials with few resamples never show a very high confidence.
    if n >= _MANY or (1 - confidence) * _TRIAL_RESAMPLES < _MIN_BEYOND:
        return float(min(1.0, guess))
    trial = np.random.default_rng(SEED).choice(centred, (n, _TRIALS))
    low, high = 0.0, min(1.0, 8 * guess)

    def seen(shift: float) -> bool:
        found = compare_pairs(trial + shift, resamples=_TRIAL_RESAMPLES, unseen=unseen).p_value <= 1 - confidence
        return bool(found.mean() >= POWER)

    if not seen(high):
        return 1.0
    # To 3 % only: _TRIALS resamples know the power itself to +-0.03, a standard error.
    while high - low > 0.03 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if seen(middle) else (middle, high)
    return float(high)


def _quantile(share: float) -> float:
    return NormalDist().inv_cdf(share)


def _critical(confidence: float, n: int) -> float:
    """Student's quantile for n images, by the first term of its expansion, at the guarded p-value."""
    z = _quantile(1 - (1 - confidence) / (1 + n**-0.5))
    return z + (z**3 + z) / (4 * (n - 1))


def _chunks(n: int, resamples: int) -> Iterator[int]:
    """Sizes of the pieces in which resamples of n values are drawn."""
    size = max(1, _AT_ONCE // n)
    for start in range(0, resamples, size):
        yield min(size, resamples - start)


def _flips(differences: Floats, rng: np.random.Generator, resamples: int) -> Floats:
    """The share of random sign patterns with as large a sum, the observed pattern among them: (k,)."""
    n, observed = len(differences), differences.sum(axis=0)
    # Starts at 1, because the observed pattern counts as a resample: no p-value is 0.
    reached = np.ones(differences.shape[1])
    for rows in _chunks(n, resamples):
        signs = rng.integers(0, 2, (rows, n), dtype=np.int8).astype(np.float64) * 2 - 1
        reached += (signs @ differences >= observed - _SAME).sum(axis=0)
    return reached / (resamples + 1)


def _moments(centred: Floats, rng: np.random.Generator, resamples: int) -> tuple[Floats, Floats, Floats]:
    """Mean, variance and skewness of bootstrap resamples of centred values, each (resamples, k)."""
    n, found = len(centred), []
    for rows in _chunks(n, resamples):
        # A resample is a vector of weights over the n values, so its moments are matrix products.
        drawn = rng.integers(0, n, (rows, n)) + np.arange(rows)[:, None] * n
        weights = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n) / n
        first, second, third = (weights @ centred**power for power in (1, 2, 3))
        variance = np.maximum(second - first**2, 0.0)
        cubes = third - 3 * first * second + 2 * first**3
        safe = np.where(variance > 0, variance, 1.0)
        found.append((first, variance, np.where(variance > 0, cubes / safe**1.5, 0.0)))
    means, variances, skews = (np.concatenate(part) for part in zip(*found, strict=True))
    return means, variances, skews


def _hall(ratio: Floats, skew: Floats, n: int) -> Floats:
    """Hall's monotone transformation of mean / deviation, free of the skewness's first-order effect."""
    return ratio + skew * ratio**2 / 3 + skew**2 * ratio**3 / 27 + skew / (6 * n)


def _tail(resampled: Floats, observed: Floats) -> Floats:
    return np.asarray((1 + (resampled >= observed).sum(axis=0)) / (len(resampled) + 1))


def _guarded(p_value: Floats, n: int) -> Floats:
    """A margin for few images, chosen by measurement: without it 6 of 100 equal models pass at n = 20, not 5."""
    return np.asarray(np.minimum(1.0, p_value * (1 + n**-0.5)))


def _interval(mean: Floats, deviation: Floats, ratios: Floats) -> tuple[Floats, Floats]:
    """The bootstrap-t interval of the mean, within the -1..1 that a difference of shares can have."""
    ordered = np.sort(ratios, axis=0)
    # The bootstrap-t swaps sides: the upper quantile of the ratios bounds the mean from below.
    cut = int((1 - LEVEL) / 2 * (len(ordered) + 1)) - 1
    lower, upper = ordered[cut], ordered[-1 - cut]
    with np.errstate(invalid="ignore"):
        low = np.where(deviation > 0, mean - upper * deviation, mean)
        high = np.where(deviation > 0, mean - lower * deviation, mean)
    return np.clip(low, -1, 1), np.clip(high, -1, 1)
