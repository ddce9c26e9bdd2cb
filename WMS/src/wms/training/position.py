"""The position of a run: plain values that each checkpoint stores and observers receive."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wms.config import RunConfig


@dataclass(frozen=True)
class Progress:
    """The report to an observer after each step: share of the whole compute, and a line of news or None."""

    share: float
    epoch: int
    message: str | None = None


@dataclass
class Position:
    """The run's position and best results so far; plain numbers, saved in each checkpoint."""

    epoch: int = 1
    batch: int = 0  # batches of this epoch that are done
    step: int = 0
    seconds: float = 0.0
    loss: float = 0.0  # sum over this epoch's images
    dice: float = 0.0  # sums over those that have a strip
    iou: float = 0.0
    images: int = 0
    with_strip: int = 0
    epoch_seconds: float = 0.0
    best_dice: float = -1.0
    best_epoch: int = 0
    lowest_loss: float = math.inf
    improved_epoch: int = 0  # the last with a better validation Dice or a lower validation loss
    stopped: bool = False


def make_optimiser(model: nn.Module, config: RunConfig) -> torch.optim.Optimizer:
    """The recipe's optimiser over all of the model's parameters."""
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimiser.name]
    optimiser: torch.optim.Optimizer = kind(
        model.parameters(), lr=config.optimiser.learning_rate, weight_decay=config.optimiser.weight_decay
    )
    return optimiser


def copy_weights(model: nn.Module) -> dict[str, Tensor]:
    """An independent state_dict on the CPU, contiguous for any memory format of training."""
    return {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in model.state_dict().items()
    }
