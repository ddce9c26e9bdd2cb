"""Reads the names and shapes of the tensors in a production.pth, without torch and without running the file's code.

The file is a zip archive as `torch.save` writes it: a pickle that names storages, and a member for each storage.
"""

from __future__ import annotations

import io
import math
import pickle  # nosec B403 - only _Reader loads, by an allow-list
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

from pydantic import ValidationError

from wms.errors import ModelDamagedError
from wms.models import Architecture, model_of
from wms.models.spec import Shape

_MOST_PICKLE_BYTES: Final = 4 * 2**20
_ITEM_BYTES: Final = {"FloatStorage": 4, "LongStorage": 8}
_LOAD: Final[dict[int, Any]] = pickle._Unpickler.dispatch
"""The function of each instruction, by the instruction's byte."""

_RESTORE: Final = "bring the right file back, by `wms sync --force`"


def read_shapes(content: bytes, name: str) -> dict[str, Shape]:
    """Every tensor's name and shape in the bytes of a plain state_dict; errors call the file `name`.

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


def check_architecture(content: bytes, name: str, card: Mapping[str, Any]) -> None:
    """Check that the bytes of a production.pth are the network that its card describes.

    Raises ModelDamagedError naming the first tensor that differs.
    """
    shapes = read_shapes(content, name)
    model = _described(card, name)
    expected = model.shapes()
    if wrong := sorted(key for key in shapes.keys() | expected.keys() if shapes.get(key) != expected.get(key)):
        key = wrong[0]
        raise ModelDamagedError(
            f"{name} isn't a {model.described}: {key} should be {_say(expected.get(key))}, but is "
            f"{_say(shapes.get(key))}; {_RESTORE}."
        )
    if (said := card.get("parameters")) != model.parameters:
        raise ModelDamagedError(f"{name} has {model.parameters:,} parameters, but its card says {said}; {_RESTORE}.")


def _described(card: Mapping[str, Any], name: str) -> Architecture:
    try:
        return model_of(card)
    except ValidationError as error:
        setting = error.errors()[0]["loc"][0]
        raise ModelDamagedError(
            f"The card of {name} names no {setting} that a network can have; {_RESTORE}."
        ) from error
    except ValueError as error:
        raise ModelDamagedError(f"The card of {name} can't be followed: {error}; {_RESTORE}.") from error


def _say(shape: Shape | None) -> str:
    return "absent" if shape is None else str(shape)


class _Tensor:
    """A tensor's shape; its values aren't read."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape


class _Reader(pickle._Unpickler):  # its twin in C lets nobody look at a key
    """Runs no code from the file: the only callables make a `_Tensor`, or an empty dict for a tensor's hooks.

    Keys are text: the hash of a tuple of tuples, of which a file of 200 bytes holds sixty levels, takes for ever.
    """

    stack: list[Any]
    dispatch: ClassVar[dict[int, Any]] = {
        code: load
        for code, load in _LOAD.items()
        if code not in {kind[0] for kind in (pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET, pickle.DICT)}
    }

    def __init__(self, content: bytes, sizes: Mapping[str, int]) -> None:
        super().__init__(io.BytesIO(content))
        self._sizes = sizes

    def _set_item(self) -> None:
        self._require_text(self.stack[-2:-1])
        _LOAD[pickle.SETITEM[0]](self)

    def _set_items(self) -> None:
        self._require_text(self.stack[::2])
        _LOAD[pickle.SETITEMS[0]](self)

    def _build(self) -> None:
        if not isinstance(self.stack[-2], OrderedDict):  # a tensor's shape isn't the file's to set
            raise pickle.UnpicklingError("it changes another object than a dict")
        _LOAD[pickle.BUILD[0]](self)

    dispatch |= {pickle.SETITEM[0]: _set_item, pickle.SETITEMS[0]: _set_items, pickle.BUILD[0]: _build}

    @staticmethod
    def _require_text(keys: Iterable[Any]) -> None:
        if not all(isinstance(key, str) for key in keys):
            raise pickle.UnpicklingError("it has a key that is no text")

    def find_class(self, module: str, name: str) -> Any:
        # An allow-list: every other name in the pickle, such as os.system, ends the read.
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._rebuild
        if module == "torch" and name in _ITEM_BYTES:
            return name
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> tuple[str, int]:
        # torch.save writes ("storage", class, key, location, number of items).
        _, kind, key, _, count = pid
        self._require_text((kind, key))
        if self._sizes.get(key) != count * _ITEM_BYTES[kind]:
            raise pickle.UnpicklingError(f"storage {key} has the wrong size")
        return kind, count

    @staticmethod
    def _rebuild(storage: tuple[str, int], offset: int, shape: Shape, *_: Any) -> _Tensor:
        if offset < 0 or any(not 0 <= side <= storage[1] for side in shape) or offset + math.prod(shape) > storage[1]:
            raise pickle.UnpicklingError("a tensor is larger than its storage")
        return _Tensor(tuple(shape))
