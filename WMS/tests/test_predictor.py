"""Prediction: the right pixels, the right model, and a command that survives bad photos."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from small import random_network
from torch import Tensor, nn
from torch.nn import functional

from wms.data.images import to_input
from wms.errors import (
    DataNotFoundError,
    ModelDamagedError,
    ModelNotFoundError,
    NotAnImageError,
    PairingError,
    TruncatedImageError,
    UsageError,
)
from wms.inference import cli
from wms.inference.export import export_model
from wms.inference.predictor import Predictor
from wms.inference.second_look import sigmoid
from wms.models.unet import UNet

CHANNELS = (4, 5, 6, 7, 8)
SIZE = 64
SOURCE = Path(cli.__file__).parents[2]
ROOT = SOURCE.parents[1]
ENTRY_POINT = Path(cli.__file__).parents[2] / "predicts.py"


def network() -> nn.Module:
    model = random_network(CHANNELS)
    with torch.no_grad():
        model.head.weight *= 5  # so that probabilities differ visibly
    return model.eval()


def exported(folder: Path, *, mirror: bool = False, threshold: float = 0.5) -> Path:
    settings = {"model": UNet(channels=CHANNELS), "input_size": SIZE, "threshold": threshold, "about": {"run": "r1"}}
    export_model(network().state_dict(), folder, mirror=mirror, **settings)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("models"))


def photo(height: int = 90, width: int = 130) -> NDArray[np.uint8]:
    small = np.random.default_rng(5).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def photos(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        Image.fromarray(photo()).save(folder / name)
    return folder


def enlarged(logits: Tensor, height: int, width: int) -> NDArray[np.float32]:
    resized = functional.interpolate(logits, (height, width), mode="bilinear", align_corners=False)
    return torch.sigmoid(resized)[0, 0].numpy()


def test_probabilities_equal_torch_in_the_photos_own_size(models: Path) -> None:
    predictor, image = Predictor(models, threads=1), photo()
    with torch.no_grad():
        expected = enlarged(network()(torch.from_numpy(to_input(image, SIZE))), 90, 130)
    found = predictor.probabilities(image)
    assert found.dtype == np.float32
    assert found.shape == (90, 130)
    assert np.ptp(found) > 0.05
    assert np.abs(found - expected).max() <= 1e-5
    mask = predictor.predict(image)
    assert mask.dtype == np.bool_
    assert np.array_equal(mask, found >= 0.5)
    level = float(np.median(found))
    assert 0 < predictor.predict(image, level).mean() < 1


def test_mirrored_average_equals_an_explicit_one(tmp_path: Path) -> None:
    image = photo(70, 100)
    x = torch.from_numpy(to_input(image, SIZE))
    model = network()
    with torch.no_grad():
        views = [
            model(x),
            model(x.flip(3)).flip(3),
            model(x.flip(2)).flip(2),
            model(x.transpose(2, 3)).transpose(2, 3),
        ]
    expected = enlarged(torch.stack(views).mean(dim=0), 70, 100)
    assert np.abs(expected - enlarged(views[0], 70, 100)).max() > 1e-3  # the average means something
    found = Predictor(exported(tmp_path, mirror=True)).probabilities(image)
    assert np.abs(found - expected).max() <= 1e-5


def test_logits_are_raw_and_check_their_input(models: Path) -> None:
    predictor = Predictor(models)
    batch = np.random.default_rng(0).random((2, 3, 32, 48), dtype=np.float32)
    with torch.no_grad():
        expected = network()(torch.from_numpy(batch)).numpy()
    assert np.abs(predictor.logits(batch) - expected).max() <= 1e-4
    for wrong in (batch[0], batch[:, :2], batch.astype(np.float64), batch[..., :40]):
        with pytest.raises(ValueError, match=r"expected|multiples of 16"):
            predictor.logits(wrong)


@pytest.mark.filterwarnings("error")
def test_sigmoid_never_overflows() -> None:
    found = sigmoid(np.array([-1e4, -1.0, 0.0, 1.0, 1e4], dtype=np.float32))
    assert found.dtype == np.float32
    assert np.allclose(found, [0, 0.26894143, 0.5, 0.7310586, 1])


def test_lone_onnx_file_describes_itself(tmp_path: Path, models: Path) -> None:
    lone = tmp_path / "served.onnx"
    lone.write_bytes((models / "production.onnx").read_bytes())
    predictor, whole = Predictor(lone), Predictor(models)
    assert predictor.card == {}
    assert whole.card["run"] == "r1"
    assert (predictor.input_size, predictor.threshold, predictor.mirror) == (SIZE, 0.5, False)
    assert predictor.weights_sha256 == whole.weights_sha256 == whole.card["weights_sha256"]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def forget_metadata(path: Path) -> None:
    import onnx

    graph = onnx.load(str(path))
    del graph.metadata_props[:]
    onnx.save(graph, str(path))
    path.with_suffix(".json").unlink()


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("production.onnx", flip),
        ("production.pth", flip),
        ("production.json", lambda path: path.write_text("{")),
        ("production.json", lambda path: path.write_text("{}")),
        ("production.onnx", forget_metadata),
        ("production.onnx", lambda path: (path.write_bytes(b"no"), path.with_suffix(".json").unlink())),
    ],
)
def test_damage_is_detected_and_named(
    tmp_path: Path, models: Path, name: str, damage: Callable[[Path], object]
) -> None:
    shutil.copytree(models, tmp_path, dirs_exist_ok=True)
    damage(tmp_path / name)
    with pytest.raises(ModelDamagedError, match=name.replace(".", r"\.")) as caught:
        Predictor(tmp_path)
    assert "wms train" in str(caught.value) or "wms versions export" in str(caught.value)


def test_weights_are_not_needed_but_never_wrong(tmp_path: Path, models: Path) -> None:
    shutil.copytree(models, tmp_path, dirs_exist_ok=True)
    (tmp_path / "production.pth").rename(tmp_path / "away")
    Predictor(tmp_path)
    card = json.loads((tmp_path / "production.json").read_text())
    (tmp_path / "production.json").write_text(json.dumps({**card, "weights_sha256": "0" * 64}))
    with pytest.raises(ModelDamagedError, match="names other weights"):
        Predictor(tmp_path)


def test_missing_model_says_what_to_run(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent", tmp_path / "x.onnx"):
        with pytest.raises(ModelNotFoundError, match=r"`wms train` or `make demo`"):
            Predictor(path)
    (tmp_path / "production.pth").touch()
    with pytest.raises(ModelNotFoundError, match=r"wms versions export"):
        Predictor(tmp_path)


def run(folder: Path, models: Path, *more: str) -> int:
    return cli.COMMAND(["--input", str(folder), "--output", str(folder.parent / "out"), "--model", str(models), *more])


def test_command_writes_upright_black_and_white_masks(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = photos(tmp_path / "in", "plain.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo()).save(folder / "turned.jpg", exif=exif)
    (folder / ".gitkeep").touch()
    image = photo()
    threshold = float(np.median(Predictor(models).probabilities(image)))
    assert run(folder, models, "--overlay", "--threshold", str(threshold), "--threads", "1") == 0
    out = tmp_path / "out"
    expected = {"plain.png", "plain_overlay.jpg", "turned.png", "turned_overlay.jpg"}
    assert {path.name for path in out.iterdir()} == expected
    with Image.open(out / "turned.png") as turned, Image.open(out / "turned_overlay.jpg") as outlined:
        assert turned.size == outlined.size == (90, 130)  # width and height swapped: upright
        assert turned.mode == "L"
    with Image.open(out / "plain.png") as plain:
        mask = np.asarray(plain)
    assert set(np.unique(mask)) == {0, 255}
    assert np.array_equal(mask == 255, Predictor(models).predict(image, threshold))
    text = capsys.readouterr().out
    assert text.startswith("Predicted 2 of 2 photos in ")
    assert f"images/s); the masks are in {out}." in text


def test_damaged_photos_do_not_stop_the_others(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = photos(tmp_path / "in", "a.png", "c.png", "z.png")
    (folder / "b[1].jpg").write_bytes((folder / "a.png").read_bytes()[:600])
    (folder / "d.png").write_text("no image")
    assert run(folder, models) == TruncatedImageError.exit_code != NotAnImageError.exit_code
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.png", "c.png", "z.png"}
    captured = capsys.readouterr()
    assert [line[:7] for line in captured.err.splitlines()] == ["error: ", "error: "]
    assert "b[1].jpg" in captured.err
    assert captured.out.startswith("Predicted 3 of 5 photos")


def test_refusals_come_before_any_work(tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataNotFoundError, match="put the photos there"):
        run(tmp_path / "in", models)
    with pytest.raises(DataNotFoundError, match="put some there"):
        run(photos(tmp_path / "in"), models)
    assert run(photos(tmp_path / "in", "a.jpg", "a.png"), models) == PairingError.exit_code
    assert "a.jpg and a.png would both become a.png" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    folder = photos(tmp_path / "fine", "a.png")
    with pytest.raises(UsageError, match="two folders"):
        cli.COMMAND(["--input", str(folder), "--output", str(folder / ".." / "fine"), "--model", str(models)])
    for wrong in (("--threshold", "1"), ("--threshold", "nan"), ("--threads", "0"), ("--threads", "9" * 30)):
        with pytest.raises((UsageError, SystemExit)) as caught:
            run(folder, models, *wrong)
        assert getattr(caught.value, "code", UsageError.exit_code) == UsageError.exit_code
    assert not (tmp_path / "out").exists()


def test_progress_speaks_in_logs_and_in_terminals(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = photos(tmp_path / "in", "a.png", "b.png")
    monkeypatch.setattr(cli, "_PLAIN_SECONDS", 0.0)
    assert run(folder, models) == 0
    assert capsys.readouterr().err.startswith("Predicted 1 of 2 photos; about ")
    (folder / "x[bold].png").touch()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert run(folder, models) == TruncatedImageError.exit_code
    err = capsys.readouterr().err
    assert "x[bold].png is empty" in err
    assert "3/3" in err


def test_script_runs_anywhere_without_torch_or_mlflow(tmp_path: Path, models: Path) -> None:
    folder = photos(tmp_path / "in", "a.png")
    code = (
        "import runpy, sys\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        "assert not {'torch', 'mlflow'} & set(sys.modules), 'slow start'\n"
    )
    wrapped = f"import sys; sys.argv[0] = {str(ENTRY_POINT)!r}; sys.path.insert(0, {str(ENTRY_POINT.parent)!r})\n"
    options = ["--input", str(folder), "--output", str(tmp_path / "out"), "--model", str(models)]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    for command in ([sys.executable, "-c", wrapped + code], [sys.executable, str(ENTRY_POINT)]):
        done = subprocess.run(
            [*command, *options], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
    assert (tmp_path / "out" / "a.png").is_file()
    failed = subprocess.run(
        [sys.executable, str(ENTRY_POINT), "--input", str(tmp_path / "none")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert failed.returncode == DataNotFoundError.exit_code
    assert failed.stderr.startswith("error: ")


def test_defaults_lie_in_the_repository() -> None:
    root = ENTRY_POINT.parents[2]
    assert root / "WMS/data/predictions/photos_to_predict" == cli.INPUT
    assert root / "WMS/data/predictions/predicted_masks" == cli.OUTPUT
    assert root / "WMS/models" == cli.MODELS


def test_nothing_is_reported_to_the_makers_of_the_runtime(tmp_path: Path, models: Path) -> None:
    """Its reporter keeps a device id and a queue in the user's cache folder, and isn't there in a CI job."""
    environ = {key: value for key, value in os.environ.items() if key not in {"CI", "GITHUB_ACTIONS", "TF_BUILD"}}
    environ |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(SOURCE)}
    environ.pop("ORT_DISABLE_TELEMETRY", None)
    code = "import sys, pathlib, wms.inference.predictor as p; p.Predictor(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(models)]
    subprocess.run(command, env=environ, check=True, timeout=120)
    assert list(tmp_path.rglob("*icrosoft*")) == []
