"""Scoring a model on a split: the same grid, threshold and preprocessing for every recipe."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from wms.config import RunConfig
from wms.data.cache import load_prepared
from wms.data.dataset import Sample
from wms.losses import per_image_loss
from wms.metrics import dice_and_iou
from wms.training.distributed import Processes

_AT_ONCE = 4  # images a forward pass: bounds the memory at 512 pixels


@dataclass(frozen=True)
class CaseScore:
    """One image's result."""

    stem: str
    dice: float
    iou: float
    loss: float


def evaluate(
    model: nn.Module, samples: Sequence[Sample], config: RunConfig, *, size: int, processes: Processes
) -> list[CaseScore]:
    """Score each image exactly once over all processes; every process gets all scores, sorted by stem."""
    processes.same_weights(model)
    mine = samples[processes.rank :: processes.world]
    scores: list[CaseScore] = []
    with scoring_mode(model):
        for start in range(0, len(mine), _AT_ONCE):
            scores += _score(model, mine[start : start + _AT_ONCE], config, size, processes.device)
    return sorted(processes.gather(scores), key=lambda score: score.stem)


def predict_masks(
    model: nn.Module, images: Tensor, config: RunConfig, *, device: torch.device
) -> tuple[Tensor, Tensor]:
    """(N, 3, S, S) in 0..1 -> masks (N, 1, grid, grid) bool and logits (N, 1, grid, grid), on the CPU."""
    images = images.to(device)
    logits: Tensor = mirrored(model, images) if config.evaluation.mirror else model(images)
    grid = config.evaluation.grid
    logits = functional.interpolate(logits.float(), size=(grid, grid), mode="bilinear", align_corners=False).cpu()
    return logits.sigmoid() > config.evaluation.threshold, logits


def mirrored(model: nn.Module, images: Tensor) -> Tensor:
    """Mean of the logits over the photo, both flips and the transpose, each turned back: (N, 1, S, S)."""
    total: Tensor = model(images)
    total = total + model(images.flip(-1)).flip(-1)
    total = total + model(images.flip(-2)).flip(-2)
    total = total + model(images.transpose(-1, -2)).transpose(-1, -2)
    return total / 4


@contextlib.contextmanager
def scoring_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients, restored afterwards."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(was_training)


def load_case(sample: Sample, config: RunConfig, size: int) -> tuple[Tensor, Tensor]:
    """Image (3, size, size) float32 in 0..1 and truth (1, grid, grid) bool, prepared as for prediction."""
    hashes = {"image_sha256": sample.image_sha256, "mask_sha256": sample.mask_sha256}
    prepared = torch.from_numpy(load_prepared(sample.pair, size=size, config=config.data, **hashes))
    grid = config.evaluation.grid
    truth = (
        prepared
        if grid == size
        else torch.from_numpy(load_prepared(sample.pair, size=grid, config=config.data, **hashes))
    )
    return prepared[:3].float() / 255, truth[3:] > 127


def _score(
    model: nn.Module, samples: Sequence[Sample], config: RunConfig, size: int, device: torch.device
) -> list[CaseScore]:
    images, truths = zip(*(load_case(sample, config, size) for sample in samples), strict=True)
    truth = torch.stack(truths)
    masks, logits = predict_masks(model, torch.stack(images), config, device=device)
    dice, iou = dice_and_iou(masks, truth)
    loss = per_image_loss(logits, truth.float(), config.loss)
    rows = zip(samples, dice.tolist(), iou.tolist(), loss.tolist(), strict=True)
    return [CaseScore(sample.pair.stem, d, i, v) for sample, d, i, v in rows]
