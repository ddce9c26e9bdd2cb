"""The learning rate: cosine over the whole compute, or halved on a plateau."""

from __future__ import annotations

import math
from dataclasses import dataclass

from wms.config import RunConfig


def cosine_rate(config: RunConfig, progress: float) -> float:
    """Learning rate at `progress` (0..1) of the run's whole compute.

    Linear warm-up, then half a cosine down to the minimum: Loshchilov and Hutter, "SGDR" (2017), no restarts.
    Compute, not steps: an image at twice the size counts four times, so that a low resolution, whose steps are
    many and cheap, doesn't use the schedule up.
    """
    schedule, peak = config.schedule, config.optimiser.learning_rate
    if progress < schedule.warmup:
        return peak * progress / schedule.warmup
    share = (progress - schedule.warmup) / (1 - schedule.warmup)
    return schedule.minimum + (peak - schedule.minimum) * (1 + math.cos(math.pi * min(share, 1.0))) / 2


def progress_at(config: RunConfig, epoch: int, share: float) -> float:
    """Share of the run's compute that is done when `share` of `epoch` (1-based) is done."""
    work = [stage.size**2 for stage in config.training.stages for _ in range(stage.epochs)]
    return (sum(work[: epoch - 1]) + share * work[epoch - 1]) / sum(work)


@dataclass
class Plateau:
    """Multiplies the rate after `patience` epochs without a lower validation loss; plain data, for checkpoints."""

    rate: float
    best: float = math.inf
    waited: int = 0

    def update(self, loss: float, config: RunConfig) -> None:
        """Take in one validation's mean loss."""
        if loss < self.best * (1 - 1e-4):  # PyTorch's ReduceLROnPlateau default threshold
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited > config.schedule.patience:
            self.rate = max(self.rate * config.schedule.factor, config.schedule.minimum)
            self.waited = 0
