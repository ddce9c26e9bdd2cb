"""Hostile ONNX files: another file that a tensor names stays closed; hash and ledger are asked before a parse."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from serving_workshop import photo, promote

from wms.errors import ModelDamagedError
from wms.files import sha256_bytes
from wms.inference import predictor as predictor_module
from wms.inference.cli import COMMAND
from wms.inference.onnx_file import require_self_contained
from wms.inference.predictor import Predictor
from wms.registry.ledger import CURRENT, HISTORY
from wms.serving.model import NoModel, load_model

pytest_plugins = ["serving_fixtures"]


def elsewhere(target: str) -> TensorProto:
    """A tensor whose values are the bytes of another file."""
    tensor = TensorProto(name="secret", data_type=TensorProto.UINT8, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", target), ("offset", "0"), ("length", "4")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def in_initializer(graph: onnx.ModelProto, target: str) -> None:
    graph.graph.initializer.append(elsewhere(target))


def in_constant(graph: onnx.ModelProto, target: str) -> None:
    graph.graph.node.insert(0, helper.make_node("Constant", [], ["secret"], value=elsewhere(target)))


def in_branch(graph: onnx.ModelProto, target: str) -> None:
    inner = helper.make_graph([helper.make_node("Constant", [], ["s"], value=elsewhere(target))], "g", [], [])
    inner.output.append(helper.make_tensor_value_info("s", TensorProto.UINT8, [4]))
    graph.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    graph.graph.node.insert(0, helper.make_node("If", ["yes"], ["secret"], then_branch=inner, else_branch=inner))


def in_sparse(graph: onnx.ModelProto, target: str) -> None:
    indices = numpy_helper.from_array(np.arange(4, dtype=np.int64), "where")
    graph.graph.sparse_initializer.append(helper.make_sparse_tensor(elsewhere(target), indices, [8]))


def in_function(graph: onnx.ModelProto, target: str) -> None:
    node = helper.make_node("Constant", [], ["s"], value=elsewhere(target))
    opset = [helper.make_opsetid("", 17)]
    graph.functions.append(helper.make_function("own", "Spy", [], ["s"], [node], opset))


def without_location(graph: onnx.ModelProto, target: str) -> None:
    tensor = elsewhere(target)
    tensor.ClearField("data_location")
    graph.graph.initializer.append(tensor)


def in_training(graph: onnx.ModelProto, target: str) -> None:
    graph.training_info.add().algorithm.initializer.append(elsewhere(target))


PLACES: dict[str, Callable[[onnx.ModelProto, str], None]] = {
    one.__name__: one
    for one in (in_initializer, in_constant, in_branch, in_sparse, in_function, without_location, in_training)
}


def spoil(folder: Path, place: str, target: str) -> None:
    """Put the hostile tensor into the folder's model, and let the card vouch for the new bytes."""
    path = folder / "production.onnx"
    graph = onnx.load(str(path))
    PLACES[place](graph, target)
    path.write_bytes(graph.SerializeToString())
    card = json.loads((folder / "production.json").read_bytes())
    card["onnx_sha256"] = sha256_bytes(path.read_bytes())
    (folder / "production.json").write_text(json.dumps(card))


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Callable[[], bool]]:
    """A path to a secret file that leads out of the model's folder, and whether the file was read since."""
    secret = tmp_path / "secret" / "passwd"
    secret.parent.mkdir()
    secret.write_bytes(b"root" * 64)
    working = tmp_path / "a" / "b"
    working.mkdir(parents=True)
    monkeypatch.chdir(working)
    os.utime(secret, ns=(0, 2**60))  # older than its last change: a read then sets the time, on relatime disks, too
    before = secret.stat().st_atime_ns
    return "../../secret/passwd", lambda: secret.stat().st_atime_ns != before


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.attack(
    "a hostile file",
    "an ONNX file whose tensors name other files",
    "refused before ONNX Runtime reads it",
)
def test_another_file_that_a_tensor_names_is_never_opened(
    own: Path, opened: tuple[str, Callable[[], bool]], place: str
) -> None:
    target, was_read = opened
    spoil(own, place, target)
    with pytest.raises(ModelDamagedError, match="wants to read tensors from another file"):
        Predictor(own)
    lone = own.parent / "lone.onnx"
    lone.write_bytes((own / "production.onnx").read_bytes())
    with pytest.raises(ModelDamagedError, match="wants to read tensors from another file"):
        Predictor(lone)
    assert not was_read()


def test_predict_and_service_say_so(own: Path) -> None:
    spoil(own, "in_initializer", "../../etc/passwd")
    for name in (HISTORY, CURRENT):
        (own / name).unlink()
    promote(own, own, 4)
    found = load_model(own, own)
    assert isinstance(found, NoModel)
    assert "wants to read tensors from another file" in found.why
    (own.parent / "meter.jpg").write_bytes(photo())
    command = ["--input", str(own.parent / "meter.jpg"), "--output", str(own.parent / "out"), "--model", str(own)]
    with pytest.raises(ModelDamagedError, match="wants to read tensors from another file"):
        COMMAND(command)


@pytest.mark.parametrize("absent", ["production.json", "production.pth", ""])
@pytest.mark.attack("a hostile file", "an ONNX file that nobody promoted", "hash and ledger before the parse")
def test_hash_and_ledger_are_asked_before_a_parse(own: Path, monkeypatch: pytest.MonkeyPatch, absent: str) -> None:
    spoil(own, "in_function", "../../etc/passwd")  # the card is changed along, the ledger isn't
    if absent:
        (own / absent).unlink()
    monkeypatch.setattr(predictor_module, "open_session", lambda *_, **__: pytest.fail("it was parsed"))
    found = load_model(own, own)
    assert isinstance(found, NoModel)
    assert "the ledger" in found.why.lower()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x3a\xff",  # a graph longer than the file
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x0b\x0c",  # a group
        b"\x00\x00",
        b"\x10\x00\x00\x00ORTM" + bytes(64),
    ],
)
def test_other_bytes_are_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelDamagedError, match=r"x\.onnx can't be read as an ONNX model"):
        Predictor(path)


def test_deep_nesting_is_refused_and_real_models_pass(promoted: Path) -> None:
    content = (promoted / "production.onnx").read_bytes()
    require_self_contained(content, "x")
    graph = onnx.GraphProto(name="g")
    for _ in range(60):
        outer = onnx.GraphProto(name="g")
        outer.node.add(op_type="If").attribute.add(name="then_branch", type=5).g.CopyFrom(graph)
        graph = outer
    deep = b"\x3a" + _length(graph.ByteSize()) + graph.SerializeToString()
    with pytest.raises(ModelDamagedError, match="nested too deep"):
        require_self_contained(deep, "x")


def _length(size: int) -> bytes:
    found = bytearray()
    while size >= 0x80:
        found.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*found, size])
