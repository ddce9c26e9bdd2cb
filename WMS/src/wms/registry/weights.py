"""Reads what a production.pth holds without torch: the names and shapes of its tensors, and no code of its own.

The file is a zip archive as `torch.save` writes it: a pickle that names storages, and one member per storage.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from wms.errors import ModelDamagedError

Shape = tuple[int, ...]

_MOST_PICKLE_BYTES: Final = 4 * 2**20
_ITEM_BYTES: Final = {"FloatStorage": 4, "LongStorage": 8}
_BUFFERS: Final = re.compile(r".*\.(running_mean|running_var|num_batches_tracked)")
_RESTORE: Final = "bring the right file back, by `python WMS/scripts/sync_model.py --force`"


def unet_shapes(channels: Sequence[int]) -> dict[str, Shape]:
    """The state_dict of `wms.model.UNet(channels)`: every tensor's name and shape."""
    fine_to_coarse = list(pairwise(channels))
    blocks = {f"encoder.{k}": pair for k, pair in enumerate(pairwise((3, *channels)))}
    blocks |= {f"decoder.{j}": (a + b, a) for j, (a, b) in enumerate(reversed(fine_to_coarse))}
    shapes: dict[str, Shape] = {}
    for name, (inputs, outputs) in blocks.items():
        for layer, width in ((0, inputs), (3, outputs)):
            shapes |= {f"{name}.{layer}.weight": (outputs, width, 3, 3), f"{name}.{layer}.bias": (outputs,)}
            norm = f"{name}.{layer + 1}"
            shapes |= {f"{norm}.{part}": (outputs,) for part in ("weight", "bias", "running_mean", "running_var")}
            shapes[f"{norm}.num_batches_tracked"] = ()
    return {**shapes, "head.weight": (1, channels[0], 1, 1), "head.bias": (1,)}


def read_shapes(content: bytes, name: str) -> dict[str, Shape]:
    """Every tensor's name and shape in the bytes of a plain state_dict; `name` is what errors call it.

    Raises ModelDamagedError for anything else: another format, another object than a dict of float32 and int64
    tensors on the CPU, a storage that is too short.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {member.filename.partition("/")[2]: member for member in archive.infolist()}
            if members["data.pkl"].file_size > _MOST_PICKLE_BYTES:
                raise pickle.UnpicklingError("its list of tensors is too long")
            sizes = {key.removeprefix("data/"): m.file_size for key, m in members.items() if key.startswith("data/")}
            state = _Reader(archive.read(members["data.pkl"]), sizes).load()
        if not isinstance(state, dict) or not all(isinstance(value, _Tensor) for value in state.values()):
            raise pickle.UnpicklingError("it holds other objects than tensors")
    except Exception as error:  # zipfile and pickle raise a dozen classes for bytes that aren't theirs
        raise ModelDamagedError(f"{name} isn't a plain state_dict ({error}); {_RESTORE}.") from error
    return {str(key): value.shape for key, value in state.items()}


def count_parameters(shapes: Mapping[str, Shape]) -> int:
    """Trainable values among the tensors: all but batch normalisation's running statistics."""
    return sum(math.prod(shape) for key, shape in shapes.items() if not _BUFFERS.fullmatch(key))


def check_architecture(content: bytes, name: str, card: Mapping[str, Any]) -> None:
    """Make sure that the bytes of a production.pth are a U-Net as its card describes it.

    Raises ModelDamagedError naming the first tensor that differs.
    """
    shapes = read_shapes(content, name)
    channels = card.get("channels")
    if not isinstance(channels, list) or len(channels) < 2 or not all(isinstance(c, int) and c > 0 for c in channels):
        raise ModelDamagedError(f"The card of {name} names no channels; {_RESTORE}.")
    expected = unet_shapes(channels)
    if wrong := sorted(key for key in shapes.keys() | expected.keys() if shapes.get(key) != expected.get(key)):
        key = wrong[0]
        raise ModelDamagedError(
            f"{name} isn't a U-Net with channels {tuple(channels)}: {key} should be {_say(expected.get(key))}, but is "
            f"{_say(shapes.get(key))}; {_RESTORE}."
        )
    if (found := count_parameters(shapes)) != (said := card.get("parameters")):
        raise ModelDamagedError(f"{name} has {found:,} parameters, but its card says {said}; {_RESTORE}.")


def _say(shape: Shape | None) -> str:
    return "absent" if shape is None else str(shape)


class _Tensor:
    """What is kept of a tensor."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape


class _Reader(pickle.Unpickler):
    """Runs no code from the file: the only callables it knows make a `_Tensor`, or an empty dict for its hooks."""

    def __init__(self, content: bytes, sizes: Mapping[str, int]) -> None:
        super().__init__(io.BytesIO(content))
        self._sizes = sizes

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._rebuild
        if module == "torch" and name in _ITEM_BYTES:
            return name
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> tuple[str, int]:
        _, kind, key, _, count = pid
        if self._sizes.get(key) != count * _ITEM_BYTES[kind]:
            raise pickle.UnpicklingError(f"storage {key} has the wrong size")
        return kind, count

    @staticmethod
    def _rebuild(storage: tuple[str, int], offset: int, shape: Shape, *_: Any) -> _Tensor:
        if offset < 0 or any(side < 0 for side in shape) or offset + math.prod(shape) > storage[1]:
            raise pickle.UnpicklingError("a tensor is larger than its storage")
        return _Tensor(tuple(shape))
