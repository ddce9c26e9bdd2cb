"""Losses per image, so that a mean over any grouping of images is exact."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from wms.config import LossConfig


def per_image_loss(logits: Tensor, target: Tensor, config: LossConfig) -> Tensor:
    """Weighted binary cross-entropy plus soft Dice: (N, 1, H, W) logits and 0..1 targets -> (N,) float32.

    Soft Dice: 1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1), Milletari et al., "V-Net" (2016), smoothed by 1 so
    that an empty prediction of an empty mask costs nothing.
    """
    logits = logits.float()
    loss = torch.zeros(logits.shape[0], device=logits.device)
    if config.bce:
        entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
        loss = loss + config.bce * entropy.mean(dim=(1, 2, 3))
    if config.dice:
        probability = logits.sigmoid()
        overlap = (probability * target).sum(dim=(1, 2, 3))
        total = probability.sum(dim=(1, 2, 3)) + target.sum(dim=(1, 2, 3))
        loss = loss + config.dice * (1 - (2 * overlap + 1) / (total + 1))
    return loss


def enlarge(logits: Tensor, config: LossConfig) -> Tensor:
    """Logits as the loss sees them: (N, 1, H, W) -> (N, 1, kH, kW) float32, k = config.enlarge, bilinear.

    Scoring and serving enlarge logits in the same way. A loss on the network's own grid can't teach where an edge runs
    within a coarse pixel; a loss on the enlarged grid can, at the price of a single channel.
    """
    logits = logits.float()
    if config.enlarge == 1:
        return logits
    return functional.interpolate(logits, scale_factor=config.enlarge, mode="bilinear", align_corners=False)
