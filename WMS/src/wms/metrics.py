"""The threshold that makes a mask, and every metric's name, formula and direction, defined once.

Training, evaluation, the gate, prediction and the service take them from here. Masks are numpy's or torch's; nothing
here imports torch.

Example:
    >>> import numpy as np
    >>> found, truth = np.array([[True, True]]), np.array([[True, False]])
    >>> {name: float(value) for name, value in measure(found, truth).items()}
    {'dice': 0.6666666666666666, 'iou': 0.5}
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

DICE, IOU = "dice", "iou"
FINAL: Final = "final_test_"
"""The prefix of a run's metrics on the test split."""
FINAL_DICE, FINAL_IOU = FINAL + DICE, FINAL + IOU
THRESHOLD: Final = 0.5
"""The probability above which a pixel is strip, where a recipe doesn't say another."""


def is_strip(probability: Any, threshold: float) -> Any:
    """The mask of probabilities (..., H, W) float32: bool, of the same shape and library.

    A pixel whose probability is the threshold exactly isn't strip. Both are compared in float32.
    """
    return probability > float(np.float32(threshold))


def is_strip_logit(logits: Any, threshold: float = THRESHOLD) -> Any:
    """The mask of logits, as `is_strip` of their probabilities."""
    return logits > math.log(threshold / (1 - threshold))


@dataclass(frozen=True)
class Compared:
    """Masks (..., H, W) bool that are compared; each count is (...) float64, taken over H and W.

    `empty` is 1 where both masks mark nothing: then they agree.
    """

    predicted: Any
    truth: Any

    @cached_property
    def overlap(self) -> Any:
        """Pixels that both masks mark."""
        return _count(self.predicted & self.truth)

    @cached_property
    def total(self) -> Any:
        """Pixels of both masks; the overlap counts twice."""
        return _count(self.predicted) + _count(self.truth)

    @cached_property
    def empty(self) -> Any:
        """1 where neither mask marks anything, else 0."""
        return (self.total == 0) * 1.0


def dice(masks: Compared) -> Any:
    """2 |A and B| / (|A| + |B|), after Dice (1945)."""
    return (2 * masks.overlap + masks.empty) / (masks.total + masks.empty)


def iou(masks: Compared) -> Any:
    """|A and B| / |A or B|, after Jaccard (1912)."""
    return (masks.overlap + masks.empty) / (masks.total - masks.overlap + masks.empty)


@dataclass(frozen=True)
class Metric:
    """A metric of a mask against the truth; means over images are compared.

    `title` is for people. A challenger has to be better in every metric that `must_improve` says; the others are
    measured and shown.
    """

    name: str
    title: str
    formula: Callable[[Compared], Any]
    higher_is_better: bool = True
    must_improve: bool = True

    def gain(self, before: float, after: float) -> float:
        """The improvement from `before` to `after`; negative if `after` is worse."""
        return after - before if self.higher_is_better else before - after


METRICS: Final[dict[str, Metric]] = {
    metric.name: metric for metric in (Metric(DICE, "Dice", dice), Metric(IOU, "IoU", iou))
}
"""All metrics by name. A new metric needs only a line here: the gate decides, reports and records by this table.

The first two are the contract of records, cards and pull requests; Dice also orders photos in reports.
"""


def measure(predicted: Any, truth: Any) -> dict[str, Any]:
    """Every metric of masks (..., H, W) bool: by name, (...) float64."""
    masks = Compared(predicted, truth)
    return {name: metric.formula(masks) for name, metric in METRICS.items()}


def title_of(name: str) -> str:
    """A metric's title; the name itself if this code doesn't know the metric, as in a record of another version."""
    return METRICS[name].title if name in METRICS else name


def _count(mask: Any) -> Any:
    """Marked pixels over H and W, as float64: torch would divide whole numbers in float32."""
    found = mask.sum((-2, -1))
    return np.float64(found) if isinstance(found, np.integer | np.ndarray) else found.double()
