"""The exported set: reproducible, equal to torch, placed whole, and refused where it would be wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from small import random_network
from torch import Tensor

from wms.data.preprocessing import PREPROCESSING
from wms.errors import ModelDamagedError, ModelNotFoundError, UnwritableError
from wms.files import sha256_file
from wms.inference import export
from wms.inference.export import ExportedModel, export_model
from wms.inference.export_cli import COMMAND
from wms.inference.predictor import Predictor
from wms.inference.runtime import onnxruntime
from wms.models.unet import UNet

SMALL = (4, 4, 4, 4, 4)
FULL = UNet().channels
ABOUT = {"run": "20260101-120000", "config_hash": "abc", "final_test_dice": "0.9"}
NAMES = {"production.pth", "production.onnx", "production.json"}


def weights(channels: tuple[int, ...] = SMALL, seed: int = 0) -> dict[str, Tensor]:
    return random_network(channels, seed).state_dict()


def exported(folder: Path, channels: tuple[int, ...] = SMALL, seed: int = 0, size: int = 32) -> ExportedModel:
    return export_model(
        weights(channels, seed),
        folder,
        model=UNet(channels=channels),
        input_size=size,
        threshold=0.4,
        mirror=True,
        about=ABOUT,
    )


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_set_is_complete_and_describes_itself(tmp_path: Path) -> None:
    done = exported(tmp_path / "new" / "models")
    assert names(tmp_path / "new" / "models") == NAMES
    assert done.weights_sha256 == sha256_file(done.weights)
    assert done.onnx_sha256 == sha256_file(done.onnx)
    card = json.loads(done.card.read_text(encoding="utf-8"))
    parameters = sum(value.numel() for value in UNet(channels=SMALL).build().parameters())
    settings = {"input_size": 32, "threshold": 0.4, "mirror": True}
    hashes = {"weights_sha256": done.weights_sha256, "onnx_sha256": done.onnx_sha256}
    shape = {"channels": [4] * 5, "parameters": parameters, "preprocessing": PREPROCESSING}
    assert card == {**ABOUT, **hashes, **settings, **shape}
    graph = onnx.load(str(done.onnx))
    onnx.checker.check_model(graph)
    assert {entry.key: entry.value for entry in graph.metadata_props} == {
        "wms.weights_sha256": done.weights_sha256,
        "wms.input_size": "32",
        "wms.threshold": "0.4",
        "wms.mirror": "true",
    }
    assert graph.opset_import[0].version >= 17


def test_weights_are_plain_and_equal(tmp_path: Path) -> None:
    state = torch.load(exported(tmp_path).weights, weights_only=True)
    assert type(state) is dict
    for key, value in weights().items():
        assert torch.equal(state[key], value)
        assert state[key].is_contiguous()
        assert state[key].dtype in (torch.float32, torch.int64)


def test_equal_weights_give_equal_bytes_whatever_their_layout(tmp_path: Path) -> None:
    first = exported(tmp_path / "a")
    # Other key order, other strides, another precision, and views into one larger storage.
    state = {key: value.clone() for key, value in reversed(weights().items())}
    for key, value in state.items():
        if value.ndim == 4:
            state[key] = value.double().to(memory_format=torch.channels_last)
        elif value.ndim == 1:
            state[key] = torch.stack([value, value], dim=1)[:, 0]
    second = export_model(
        state, tmp_path / "b", model=UNet(channels=SMALL), input_size=32, threshold=0.4, mirror=True, about=ABOUT
    )
    for one, other in ((first.weights, second.weights), (first.onnx, second.onnx), (first.card, second.card)):
        assert one.read_bytes() == other.read_bytes()


def test_full_network_equals_torch_at_any_size(tmp_path: Path) -> None:
    done = exported(tmp_path, FULL, size=128)
    assert done.max_difference <= 1e-4
    assert json.loads(done.card.read_text(encoding="utf-8"))["parameters"] == 1_965_569
    model = UNet().build()
    model.load_state_dict(torch.load(done.weights, weights_only=True))
    session = onnxruntime.InferenceSession(str(done.onnx), providers=["CPUExecutionProvider"])
    batch = torch.rand(3, 3, 96, 48, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model.eval()(batch).numpy()
    found = session.run(["logits"], {"image": batch.numpy()})[0]
    assert found.shape == (3, 1, 96, 48)
    assert np.abs(found - expected).max() <= 1e-4


def test_large_logits_are_measured_by_their_size(tmp_path: Path) -> None:
    loud = {key: value * (1e4 if key == "head.weight" else 1) for key, value in weights(FULL).items()}
    done = export_model(loud, tmp_path, model=UNet(), input_size=64, threshold=0.5, mirror=False, about=ABOUT)
    assert done.max_difference > 1e-4, "rounding alone exceeds the limit for small logits"


def test_random_state_stays_untouched(tmp_path: Path) -> None:
    state = weights()
    before = torch.get_rng_state()
    export_model(state, tmp_path, model=UNet(channels=SMALL), input_size=32, threshold=0.5, mirror=False, about={})
    assert torch.equal(before, torch.get_rng_state())


def test_wrong_graph_or_weights_leave_the_old_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exported(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    nan = {**weights(), "head.bias": torch.tensor([float("nan")])}
    for state, channels in ((nan, SMALL), (weights(), (8, 4, 4, 4, 4)), ({}, SMALL)):
        with pytest.raises(ModelDamagedError):
            export_model(
                state, tmp_path, model=UNet(channels=channels), input_size=32, threshold=0.5, mirror=False, about={}
            )
    real = export._onnx_bytes
    other = export._build(weights(seed=1), UNet(channels=SMALL))
    monkeypatch.setattr(export, "_onnx_bytes", lambda _, stride, metadata: real(other, stride, metadata))
    with pytest.raises(ModelDamagedError, match=r"differ from torch's by .* nothing was written"):
        exported(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("settings", [{"input_size": 40}, {"input_size": 0}, {"threshold": 1.0}])
def test_settings_out_of_range_are_refused(tmp_path: Path, settings: dict[str, float]) -> None:
    usual = {"input_size": 32, "threshold": 0.5, "mirror": False, "about": {}, **settings}
    with pytest.raises(ValueError, match="out of range"):
        export_model(weights(), tmp_path, model=UNet(channels=SMALL), **usual)
    with pytest.raises(ValueError, match="parameters"):
        export_model(
            weights(),
            tmp_path,
            model=UNet(channels=SMALL),
            input_size=32,
            threshold=0.5,
            mirror=False,
            about={"parameters": "7"},
        )
    assert names(tmp_path) == set()


@pytest.mark.parametrize("survivors", [1, 2])
def test_kill_between_renames_is_detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survivors: int) -> None:
    exported(tmp_path)
    renamed: list[Path] = []
    real = Path.replace

    def stop_after(self: Path, target: Path) -> Path:
        if len(renamed) == survivors:
            raise OSError(5, "killed here")
        renamed.append(target)
        return real(self, target)

    monkeypatch.setattr(Path, "replace", stop_after)
    with pytest.raises(UnwritableError):
        exported(tmp_path, seed=1)
    assert [path.name for path in renamed] == ["production.pth", "production.onnx"][:survivors]
    assert names(tmp_path) == NAMES  # no temporary file is left
    with pytest.raises(ModelDamagedError, match="production"):
        Predictor(tmp_path)


def test_exports_again_from_weights_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = exported(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    done.onnx.unlink()
    assert COMMAND([str(tmp_path)]) == 0
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    done.card.unlink()
    assert COMMAND([str(tmp_path)]) == 0
    predictor = Predictor(tmp_path)
    assert (predictor.input_size, predictor.threshold, predictor.mirror) == (256, 0.5, False)
    assert "differ from torch's by at most" in capsys.readouterr().out


def test_a_rule_of_the_model_outlives_its_onnx_file(tmp_path: Path) -> None:
    settings = {"input_size": 32, "threshold": 0.5, "mirror": False, "about": {}}
    rules = {"second_look": 0.4, "detail": 64, "one_strip": True}
    export_model(random_network(SMALL).state_dict(), tmp_path, model=UNet(channels=SMALL), **settings, **rules)
    (tmp_path / "production.onnx").unlink()
    assert COMMAND([str(tmp_path)]) == 0
    predictor = Predictor(tmp_path)
    assert {name: getattr(predictor, name) for name in rules} == rules


def test_main_names_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="wms train"):
        COMMAND([str(tmp_path)])
    done = exported(tmp_path)
    torch.save(weights(seed=1), done.weights)
    with pytest.raises(ModelDamagedError, match=r"production\.json"):
        COMMAND([str(tmp_path)])
    for content in ({"model": {}}, [1], {"other": torch.zeros(1)}):
        torch.save(content, done.weights)
        with pytest.raises(ModelDamagedError):
            COMMAND([str(tmp_path)])
    done.weights.write_bytes(b"no zip")
    with pytest.raises(ModelDamagedError, match="can't be read"):
        COMMAND([str(tmp_path)])


def test_module_runs_as_the_command_that_errors_name(tmp_path: Path) -> None:
    source = Path(export.__file__).parents[2]
    paths = f"{source}:{source.parents[1] / 'devops' / 'src'}"
    command = [sys.executable, "-m", "wms_ops", "versions", "export", str(tmp_path)]
    done = subprocess.run(command, env={"PYTHONPATH": paths}, capture_output=True, text=True, check=False)
    assert done.returncode == ModelNotFoundError.exit_code
    assert done.stderr.startswith("error: No weights at")
