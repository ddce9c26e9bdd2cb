"""Looks through an ONNX file's bytes before ONNX Runtime parses them: a model has all of its tensors in its own file.

A tensor may name another file for its values ("external data"), any file that the process may read, and ONNX Runtime
opens it while it parses. No model of this project does so. The bytes are protobuf; only messages that can hold a tensor
are entered, and values are skipped unread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from wms.errors import ModelDamagedError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_NESTED: Final = 100  # as protobuf itself
_ORT_FORMAT: Final = b"ORTM"  # ONNX Runtime's own format, which it takes for a model, too

# The fields, by number, of each message of onnx.proto that lead to a tensor.
_FIELDS: Final[Mapping[str, Mapping[int, str]]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
"""Fields of a tensor: where its values lie, and whether they lie elsewhere."""


def require_self_contained(content: bytes, name: str) -> None:
    """Raise ModelDamagedError, calling the file `name`, for bytes that aren't an ONNX model or name another file."""
    try:
        if content[4:8] == _ORT_FORMAT:
            raise ValueError("it is in another format")
        found = _external(memoryview(content), "model", 0)
    except ValueError as error:
        raise ModelDamagedError(
            f"{name} can't be read as an ONNX model ({error}); restore the folder's files together, or run `wms train` "
            "again."
        ) from error
    if found:
        raise ModelDamagedError(
            f"{name} wants to read tensors from another file, which no model of this project does, so it was not "
            "loaded; bring the promoted model with `wms sync --force`, and find out who made this one."
        )


def _external(message: memoryview, kind: str, depth: int) -> bool:
    """Whether a message holds a tensor whose values lie in another file. Raises ValueError for other bytes."""
    if depth > _MOST_NESTED:
        raise ValueError("it is nested too deep")
    for number, value in _fields(message):
        if kind == "tensor" and (number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0)):
            return True
        inner = _FIELDS[kind].get(number)
        if inner and isinstance(value, memoryview) and _external(value, inner, depth + 1):
            return True
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the number and value of each field of a protobuf message; fixed numbers as 0, which nobody asks for."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 2**29:
            raise ValueError("a field has no number")
        value: int | memoryview = 0
        if wire == _VARINT:
            value, at = _varint(message, at)
        elif wire == _BYTES:
            size, at = _varint(message, at)
            value, at = message[at : at + size], at + size
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        else:  # groups, which protobuf gave up, and no writer of ONNX files makes
            raise ValueError("a field is of no known type")
        if at > len(message):
            raise ValueError("it ends too early")
        yield number, value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Read a number of at most 64 bits; return it, and the place after it."""
    value = 0
    for count, byte in enumerate(message[at : at + 10]):
        value |= (byte & 0x7F) << (7 * count)
        if not byte & 0x80:
            return value & (2**64 - 1), at + count + 1
    raise ValueError("it ends too early")
