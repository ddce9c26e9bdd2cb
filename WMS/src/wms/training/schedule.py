"""The learning rate: cosines over the compute, or halved on a plateau."""

from __future__ import annotations

import math
from dataclasses import dataclass

from wms.config import RunConfig


def cosine_rate(config: RunConfig, epoch: int, share: float) -> float:
    """Learning rate when `share` of `epoch` (1-based) is done.

    Linear warm-up, then half a cosine down to the minimum over the whole compute: Loshchilov and Hutter, "SGDR" (2017).
    A stage with `restart` begins a new cosine, so that a longer recipe can repeat a shorter recipe and then continue.
    The schedule follows compute, not steps: an image at twice the size counts four times, so that the many cheap steps
    of a low resolution don't use up the schedule.
    """
    schedule, peak = config.schedule, config.optimiser.learning_rate
    first, last = 1, 0
    for stage in config.training.stages:
        if stage.restart:
            if last >= epoch:
                break
            first, peak = last + 1, stage.restart * config.optimiser.learning_rate
        last += stage.epochs
    progress = _progress(config, epoch, share, first, last)
    if progress < schedule.warmup:
        return peak * progress / schedule.warmup
    done = (progress - schedule.warmup) / (1 - schedule.warmup)
    return schedule.minimum + (peak - schedule.minimum) * (1 + math.cos(math.pi * min(done, 1.0))) / 2


def progress_at(config: RunConfig, epoch: int, share: float) -> float:
    """Share of the run's compute that is done when `share` of `epoch` (1-based) is done."""
    return _progress(config, epoch, share, 1, config.training.epochs)


def _progress(config: RunConfig, epoch: int, share: float, first: int, last: int) -> float:
    """The same for the epochs from `first` to `last` alone."""
    # Compute per image grows with the pixels: the side squared.
    work = [stage.size**2 for stage in config.training.stages for _ in range(stage.epochs)][first - 1 : last]
    done = epoch - first
    return (sum(work[:done]) + share * work[done]) / sum(work)


@dataclass
class Plateau:
    """Multiplies the rate after `patience` epochs without a lower validation loss; plain data, for checkpoints."""

    rate: float
    best: float = math.inf
    waited: int = 0

    def update(self, loss: float, config: RunConfig) -> None:
        """Take the mean loss of a validation into account."""
        if loss < self.best * (1 - 1e-4):  # PyTorch's ReduceLROnPlateau default threshold
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited > config.schedule.patience:
            self.rate = max(self.rate * config.schedule.factor, config.schedule.minimum)
            self.waited = 0
