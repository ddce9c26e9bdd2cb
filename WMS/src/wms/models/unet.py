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

from collections.abc import Mapping
from functools import cache
from itertools import count, pairwise, takewhile
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import Field, ValidationError

from wms.models.spec import Architecture, BatchNormalisation, Convolution, Layer, Shape

if TYPE_CHECKING:
    from torch import Tensor, nn

Width = Annotated[int, Field(ge=1, le=4096)]


class UNet(Architecture):
    """The U-Net's settings: `channels` are the feature maps per level, finest first."""

    label: ClassVar[str] = "U-Net"

    channels: tuple[Width, Width, Width, Width, Width] = (16, 32, 64, 128, 256)

    @property
    def stride(self) -> int:
        """Each level but the first halves the photo."""
        return 1 << len(self.channels) - 1

    def layers(self) -> tuple[Layer, ...]:
        """Two convolutions with batch normalisation per level, down and up again, then the head."""
        blocks = [(f"encoder.{k}", a, b, 1 << k) for k, (a, b) in enumerate(pairwise((3, *self.channels)))]
        levels = list(enumerate(pairwise(self.channels)))
        blocks += [(f"decoder.{j}", a + b, a, 1 << k) for j, (k, (a, b)) in enumerate(reversed(levels))]
        found: list[Layer] = []
        for name, inputs, outputs, shrink in blocks:
            for layer, width in ((0, inputs), (3, outputs)):
                found.append(Convolution(f"{name}.{layer}", width, outputs, kernel=3, shrink=shrink))
                found.append(BatchNormalisation(f"{name}.{layer + 1}", outputs))
        return (*found, Convolution("head", self.channels[0], 1, kernel=1))

    def build(self) -> nn.Module:
        """The network; its forward raises ValueError for a height or width that isn't a multiple of the stride."""
        network: nn.Module = _network()(self)
        return network

    @classmethod
    def recognise(cls, shapes: Mapping[str, Shape]) -> Self | None:
        """Each level's first convolution tells how many feature maps it has."""
        weights = takewhile(bool, (shapes.get(f"encoder.{k}.0.weight") for k in count()))
        try:
            return cls.model_validate({"channels": [weight[0] for weight in weights if weight]})
        except ValidationError:
            return None


@cache
def _network() -> Any:
    """The class of the network, defined only when `build` runs, because this file is also imported without torch."""
    import torch
    from torch import nn
    from torch.nn import functional

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

    class Network(nn.Module):
        def __init__(self, spec: UNet) -> None:
            super().__init__()
            self.stride = spec.stride
            self.encoder = nn.ModuleList(double_convolution(a, b) for a, b in pairwise((3, *spec.channels)))
            coarse_first = reversed(list(pairwise(spec.channels)))
            self.decoder = nn.ModuleList(double_convolution(fine + coarse, fine) for fine, coarse in coarse_first)
            self.head = nn.Conv2d(spec.channels[0], 1, kernel_size=1)

        def forward(self, image: Tensor) -> Tensor:
            """(N, 3, H, W) -> (N, 1, H, W) logits."""
            # The export's tracing would turn the check into a constant, so tracing skips the check.
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

    return Network
