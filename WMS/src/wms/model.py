"""The U-Net that finds the reading strip.

Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation" (2015), with
batch normalisation, padded convolutions and bilinear enlargement instead of transposed convolutions.

state_dict keys, level k counted from the finest (0) to the bottleneck (4):
    encoder.k.{0,3}.{weight,bias}       3x3 convolutions (out, in, 3, 3) and (out,)
    encoder.k.{1,4}.{weight,bias,running_mean,running_var,num_batches_tracked}   batch normalisation
    decoder.j.{0,3}.* and decoder.j.{1,4}.*   the same, j = 0 is the coarsest decoder level (k = 3)
    head.{weight,bias}                  1x1 convolution to one logit
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = (16, 32, 64, 128, 256)
PARAMETERS = 1_965_569
"""Trainable parameters with the default channels."""


def double_convolution(inputs: int, outputs: int) -> nn.Sequential:
    """Twice (3x3 convolution, batch normalisation, ReLU): (N, inputs, H, W) -> (N, outputs, H, W)."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size=3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, kernel_size=3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    """Photo to logits: (N, 3, H, W) RGB in 0..1 -> (N, 1, H, W); H and W are multiples of 16.

    `channels` are the feature maps per level, finest first. Raises ValueError for another height or width.
    """

    def __init__(self, channels: Sequence[int] = CHANNELS) -> None:
        super().__init__()
        self.stride = 2 ** (len(channels) - 1)
        self.encoder = nn.ModuleList(double_convolution(a, b) for a, b in pairwise((3, *channels)))
        coarse_first = reversed(list(pairwise(channels)))
        self.decoder = nn.ModuleList(double_convolution(fine + coarse, fine) for fine, coarse in coarse_first)
        self.head = nn.Conv2d(channels[0], 1, kernel_size=1)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 1, H, W) logits."""
        # Tracing for the export would turn the check into a constant, so it's skipped there.
        tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        if not tracing and (image.shape[-1] % self.stride or image.shape[-2] % self.stride):
            height, width = image.shape[-2:]
            raise ValueError(f"height {height} and width {width} must be multiples of {self.stride}")
        skips: list[Tensor] = []
        x = image
        for level, block in enumerate(self.encoder):
            if level:
                x = functional.max_pool2d(x, kernel_size=2)  # (N, C, H/2^level, W/2^level)
            x = block(x)
            skips.append(x)
        skips.pop()
        for block in self.decoder:
            x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = block(torch.cat([skips.pop(), x], dim=1))  # skip first, then the enlarged map
        logits: Tensor = self.head(x)
        return logits
