"""The facts of a network that need no torch: settings, tensors, stride and cost."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from wms.config_sections import HASHED_IF_CHANGED, Section

if TYPE_CHECKING:
    from torch import nn

DEFAULT: Final = "unet"
"""The architecture of recipes, cards and checkpoints without a name, which predate other architectures."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Convolution:
    """A square convolution with bias on a map whose side is `1 / shrink` of the photo's."""

    name: str
    inputs: int
    outputs: int
    kernel: int
    shrink: int = 1

    def shapes(self) -> dict[str, Shape]:
        """The tensors of torch's Conv2d, each trained."""
        weight = (self.outputs, self.inputs, self.kernel, self.kernel)
        return {f"{self.name}.weight": weight, f"{self.name}.bias": (self.outputs,)}

    def trained(self) -> int:
        """The number of trained values."""
        return sum(math.prod(shape) for shape in self.shapes().values())

    def macs(self, side: int) -> int:
        """Multiply-adds for a photo of `side` x `side` pixels."""
        return self.inputs * self.outputs * self.kernel**2 * (side // self.shrink) ** 2


@dataclass(frozen=True)
class BatchNormalisation:
    """A batch normalisation of `width` feature maps; the cost is negligible beside a convolution's and not counted."""

    name: str
    width: int

    def shapes(self) -> dict[str, Shape]:
        """The tensors of torch's BatchNorm2d; only the first two are trained."""
        parts = ("weight", "bias", "running_mean", "running_var")
        return {f"{self.name}.{part}": (self.width,) for part in parts} | {f"{self.name}.num_batches_tracked": ()}

    def trained(self) -> int:
        """The number of trained values."""
        return 2 * self.width

    def macs(self, side: int) -> int:  # noqa: ARG002 - the same question for every layer
        """No multiply-adds: an export folds the layer into the preceding convolution."""
        return 0


Layer = Convolution | BatchNormalisation


class Architecture(Section, ABC):
    """A network's settings (a recipe's section `model`) and all properties that follow from them without torch.

    Every network maps photos (N, 3, H, W), RGB in 0..1, to logits (N, 1, H, W), where H and W are multiples of
    `stride`. A subclass adds settings as fields, `label` for sentences, and the three abstract members. A recipe names
    a subclass by the name of the file.
    """

    label: ClassVar[str]

    architecture: str = Field(default=DEFAULT, json_schema_extra=HASHED_IF_CHANGED)

    @property
    @abstractmethod
    def stride(self) -> int:
        """Pixels of which a photo's sides must be multiples."""

    @abstractmethod
    def layers(self) -> tuple[Layer, ...]:
        """The layers with tensors; tests hold their names and shapes to those of `build`."""

    @abstractmethod
    def build(self) -> nn.Module:
        """The network with random weights. A subclass imports torch only in this method."""

    @classmethod
    def recognise(cls, shapes: Mapping[str, Shape]) -> Self | None:  # noqa: ARG003 - for subclasses
        """The settings behind weights without a card; None if the weights don't tell."""
        return None

    def shapes(self) -> dict[str, Shape]:
        """Each tensor of the network's state_dict with its shape."""
        return {name: shape for layer in self.layers() for name, shape in layer.shapes().items()}

    @property
    def parameters(self) -> int:
        """The number of trained values."""
        return sum(layer.trained() for layer in self.layers())

    def macs(self, side: int) -> int:
        """Multiply-adds for a photo of `side` x `side` pixels; a training step takes about three times as many."""
        return sum(layer.macs(side) for layer in self.layers())

    @property
    def described(self) -> str:
        """The network in words, such as "U-Net with channels (16, 32, 64, 128, 256)"."""
        settings = {name: getattr(self, name) for name in type(self).model_fields if name != "architecture"}
        words = ", ".join(f"{name} {value}" for name, value in settings.items())
        return f"{self.label} with {words}" if words else self.label

    @model_validator(mode="before")
    @classmethod
    def _name(cls, values: Any) -> Any:
        """Take the name from the file, so that no class has to repeat the name."""
        name = cls.__module__.rpartition(".")[2]
        if not isinstance(values, Mapping):
            return values
        if values.get("architecture", name) != name:
            raise ValueError(f"{values['architecture']!r} isn't the architecture of {cls.__name__}, {name!r}")
        return {**values, "architecture": name}

    @model_serializer(mode="wrap")
    def _without_default(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Omit the default name, so that the U-Net's configs and cards keep the bytes of versions without a name."""
        values: dict[str, Any] = write(self)
        return {key: value for key, value in values.items() if (key, value) != ("architecture", DEFAULT)}
