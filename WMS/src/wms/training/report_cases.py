"""The test images that a run's report shows, with the masks that the model draws on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from wms.config import RunConfig
from wms.data.cache import load_prepared
from wms.data.pairs import Sample
from wms.training.evaluation import CaseScore, load_case, predict_masks, scoring_mode, trained
from wms.training.report import ImageCase

MOST = 400
"""A report holds all pictures in memory; of a larger test split, the worst half and an even sample of the rest."""


def choose_cases(
    config: RunConfig,
    samples: Sequence[Sample],
    weights: Mapping[str, Tensor],
    scores: Sequence[CaseScore],
    device: torch.device,
) -> list[ImageCase]:
    """Cases for the report: images (grid, grid, 3) uint8, truth and prediction (grid, grid) bool."""
    by_stem = {sample.pair.stem: sample for sample in samples}
    ranked = sorted(scores, key=lambda score: (score.dice, score.stem))
    if len(ranked) > MOST:
        rest = ranked[MOST // 2 :]
        step = -(-len(rest) // (MOST // 2))
        ranked = ranked[: MOST // 2] + rest[step - 1 :: step]
    model = trained(config, weights, device)
    with scoring_mode(model):
        return [_case(model, by_stem[score.stem], score, config, device) for score in ranked]


def _case(model: nn.Module, sample: Sample, score: CaseScore, config: RunConfig, device: torch.device) -> ImageCase:
    case = load_case(sample, config, config.input_size)
    mask, _ = predict_masks(model, [case], config, device=device)
    shown = load_prepared(sample, size=config.evaluation.grid, config=config.data)
    return ImageCase(
        stem=score.stem,
        image=shown[:3].transpose(1, 2, 0),
        truth=case.truth[0].numpy(),
        prediction=mask[0, 0].numpy(),
        dice=score.dice,
        iou=score.iou,
    )
