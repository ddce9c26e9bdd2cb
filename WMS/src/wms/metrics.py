"""Dice and IoU of binary masks, per image."""

from __future__ import annotations

from torch import Tensor


def dice_and_iou(predicted: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Per image: (N, 1, H, W) bool and bool -> Dice (N,) and IoU (N,), float64.

    Dice = 2 |A and B| / (|A| + |B|), IoU = |A and B| / |A or B|. Both empty counts as 1.
    """
    overlap = (predicted & truth).sum(dim=(1, 2, 3)).double()
    total = (predicted.sum(dim=(1, 2, 3)) + truth.sum(dim=(1, 2, 3))).double()
    both_empty = total == 0
    dice = (2 * overlap / total.clamp(min=1)).masked_fill(both_empty, 1.0)
    iou = (overlap / (total - overlap).clamp(min=1)).masked_fill(both_empty, 1.0)
    return dice, iou
