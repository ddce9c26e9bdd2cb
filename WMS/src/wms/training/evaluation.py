"""Scores a model on a split, with the same grid, threshold and preprocessing for every recipe."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from wms.config import RunConfig
from wms.data.cache import load_prepared
from wms.data.pairs import Sample
from wms.errors import EmptyMaskError
from wms.inference.second_look import Box, blend, find_box, one_strip, window
from wms.losses import per_image_loss
from wms.metrics import DICE, IOU, is_strip, measure
from wms.training.distributed import Processes

_AT_ONCE = 4  # images a forward pass: bounds the memory at 512 pixels


@dataclass(frozen=True)
class CaseScore:
    """The scores of an image; `marked` is the share of the image (0..1) that the model marks."""

    stem: str
    dice: float
    iou: float
    loss: float
    marked: float


def evaluate(
    model: nn.Module, samples: Sequence[Sample], config: RunConfig, *, size: int, processes: Processes
) -> list[CaseScore]:
    """Score each image exactly once over all processes; every process gets all scores, sorted by stem.

    An image whose mask is empty on the scoring grid has no score: Dice and IoU measure how well a strip is found, and
    an empty prediction of an empty mask would count as perfect. Raises EmptyMaskError if no image remains.
    """
    processes.same_weights(model)
    mine = samples[processes.rank :: processes.world]
    scores: list[CaseScore] = []
    with scoring_mode(model):
        for start in range(0, len(mine), _AT_ONCE):
            processes.cores.adapt()
            scores += _score(model, mine[start : start + _AT_ONCE], config, size, processes.device)
    found = sorted(processes.gather(scores), key=lambda score: score.stem)
    if not found:
        raise EmptyMaskError(
            f"None of {len(samples)} masks marks anything on the scoring grid of {config.evaluation.grid} pixels, so "
            "there is nothing to score; look at the masks, or set a larger evaluation.grid."
        )
    return found


@dataclass(frozen=True)
class EvaluationCase:
    """A pair in the form that the network and the scoring need.

    image: (3, S, S) float32 in 0..1, prepared as for prediction; truth: (1, grid, grid) bool; detail: the photo
    that the second look cuts its window from, (D, D, 3) uint8, None where the recipe has no second look.
    """

    image: Tensor
    truth: Tensor
    detail: NDArray[np.uint8] | None


def predict_masks(
    model: nn.Module, cases: Sequence[EvaluationCase], config: RunConfig, *, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Masks (N, 1, grid, grid) bool and logits (N, 1, grid, grid) of N cases of equal size, on the CPU."""
    asked = config.evaluation
    first = _mean_logits(model, torch.stack([case.image for case in cases]), config, device)
    logits = functional.interpolate(first, size=(asked.grid, asked.grid), mode="bilinear", align_corners=False)
    windows: list[NDArray[np.float32]] = []
    places: list[tuple[int, Box]] = []
    # The second look runs as a second batch: the windows come from the first look.
    for index, case in enumerate(cases):
        if case.detail is None:
            continue
        box = find_box(first[index, 0].numpy(), threshold=asked.threshold, fill=asked.second_look)
        if box is not None:
            windows.append(window(case.detail, box, first.shape[-1]))
            places.append((index, box))
    if windows:
        second = _mean_logits(model, torch.from_numpy(np.concatenate(windows)), config, device)
        for (index, box), found in zip(places, second, strict=True):
            logits[index, 0] = torch.from_numpy(blend(logits[index, 0].numpy(), found[0].numpy(), box))
    probability = logits.sigmoid()
    masks: Tensor = is_strip(probability, asked.threshold)
    if asked.one_strip:
        for mask, certain in zip(masks[:, 0], probability[:, 0], strict=True):
            mask.copy_(torch.from_numpy(one_strip(mask.numpy(), certain.numpy())))
    return masks, logits


def _mean_logits(model: nn.Module, images: Tensor, config: RunConfig, device: torch.device) -> Tensor:
    """(N, 3, S, S) in 0..1 -> the recipe's logits (N, 1, S, S) float32, on the CPU."""
    images = images.to(device)
    logits: Tensor = mirrored(model, images) if config.evaluation.mirror else model(images)
    return logits.float().cpu()


def mirrored(model: nn.Module, images: Tensor) -> Tensor:
    """Mean of the logits over the photo, both flips and the transpose, each turned back: (N, 1, S, S)."""
    total: Tensor = model(images)
    total = total + model(images.flip(-1)).flip(-1)
    total = total + model(images.flip(-2)).flip(-2)
    total = total + model(images.transpose(-1, -2)).transpose(-1, -2)
    return total / 4


def trained(config: RunConfig, weights: Mapping[str, Tensor], device: torch.device) -> nn.Module:
    """The recipe's network on `device`, with these weights."""
    model = config.model.build().to(device)
    model.load_state_dict(dict(weights))
    return model


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


def load_case(sample: Sample, config: RunConfig, size: int) -> EvaluationCase:
    """The pair at `size` pixels, the truth on the scoring grid, and the detail that a second look needs."""

    def prepared(side: int) -> NDArray[np.uint8]:
        return load_prepared(sample, size=side, config=config.data)

    grid = config.evaluation.grid
    pair = prepared(size)
    truth = torch.from_numpy(pair if grid == size else prepared(grid))[3:] > 127
    detail = prepared(config.data.cache_size)[:3].transpose(1, 2, 0) if config.evaluation.second_look else None
    return EvaluationCase(torch.from_numpy(pair)[:3].float() / 255, truth, detail)


def _score(
    model: nn.Module, samples: Sequence[Sample], config: RunConfig, size: int, device: torch.device
) -> list[CaseScore]:
    loaded = [(sample, load_case(sample, config, size)) for sample in samples]
    kept = [(sample, case) for sample, case in loaded if case.truth.any()]
    if not kept:
        return []
    cases = [case for _, case in kept]
    truth = torch.stack([case.truth for case in cases])
    masks, logits = predict_masks(model, cases, config, device=device)
    scores = measure(masks[:, 0], truth[:, 0])
    loss = per_image_loss(logits, truth.float(), config.loss)
    marked = masks.float().mean(dim=(1, 2, 3))
    rows = zip(kept, *(values.tolist() for values in (scores[DICE], scores[IOU], loss, marked)), strict=True)
    return [CaseScore(sample.pair.stem, *values) for (sample, _), *values in rows]


def mean_of(scores: Sequence[CaseScore], name: str) -> float:
    """The mean of "dice", "iou" or "loss" over the images; `scores` must not be empty."""
    return float(sum(getattr(score, name) for score in scores) / len(scores))


def marks_nothing(scores: Sequence[CaseScore]) -> bool:
    """Whether the model marks nothing on all images: such a model is useless."""
    return not any(score.marked for score in scores)
