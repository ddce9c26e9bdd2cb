"""A second network is one file and one line of a recipe: found, trained, exported, predicted, judged and served."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from serving_workshop import promote
from small import config_in, environment, photos
from torch.utils.flop_counter import FlopCounterMode

import wms.models
from wms.config import RunConfig, parse_config
from wms.data.images import read_image
from wms.data.pairs import find_pairs
from wms.data.preprocessing import PREPROCESSING
from wms.data.versions import DataItem
from wms.errors import ConfigError, ModelDamagedError
from wms.files import sha256_file
from wms.inference import cli, export_cli
from wms.inference.predictor import Predictor
from wms.models import architectures, find_architecture, parse_model
from wms.registry.gate import judge
from wms.registry.gate_types import GateEvidence, GateModel
from wms.registry.weights import check_architecture
from wms.serving.marking import mark
from wms.serving.model import ServedModel, load_model
from wms.training.request import Request
from wms.training.train import run_training
from wms_ops.gate.scoring import score_images

PLAIN = '''
"""Three convolutions, the middle one at a quarter of the size."""

from typing import ClassVar

from pydantic import Field

from wms.models.spec import Architecture, Convolution


class Plain(Architecture):
    label: ClassVar[str] = "plain network"

    width: int = Field(default=4, ge=1, le=64)

    @property
    def stride(self):
        return 4

    def layers(self):
        w = self.width
        shapes = (("0", 3, w, 1), ("2", w, w, 4), ("4", w, 1, 1))
        return tuple(Convolution(name, a, b, kernel=3, shrink=s) for name, a, b, s in shapes)

    def build(self):
        from torch import nn

        first, middle, last = (nn.Conv2d(c.inputs, c.outputs, 3, padding=1) for c in self.layers())
        return nn.Sequential(first, nn.AvgPool2d(4), middle, nn.Upsample(scale_factor=4.0, mode="bilinear"), last)
'''


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The second network's file, in a folder that the package looks into."""
    folder = tmp_path / "networks"
    folder.mkdir()
    (folder / "plain.py").write_text(PLAIN, encoding="utf-8")
    monkeypatch.setattr(wms.models, "__path__", [*wms.models.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, "wms.models.plain", raising=False)
    return "plain"


def recipe(folder: Path, **settings: object) -> RunConfig:
    """A recipe of sides that the U-Net, with its stride of 16, would refuse."""
    stages = [{"size": 36, "epochs": 1}, {"size": 44, "epochs": 2}]
    config = config_in(folder, training={"stages": [{"size": 48, "epochs": 1}]}).model_dump(mode="json")
    return parse_config({**config, "model": settings, "training": {**config["training"], "stages": stages}}, "test")


def test_from_a_recipe_to_a_served_mask(plain: str, tmp_path: Path) -> None:
    photos(tmp_path)
    config = recipe(tmp_path, architecture=plain, width=5)
    result = run_training(config, Request(runs=tmp_path / "runs", device="cpu", quiet=True))
    assert result is not None
    model, scores = result.model, json.loads((result.run_dir / "artifacts/test_scores.json").read_text())
    card = json.loads((model / "production.json").read_text())
    assert (card["architecture"], card["width"], card["stride"]) == (plain, 5, 4)
    assert card["parameters"] == config.model.parameters
    check_architecture((model / "production.pth").read_bytes(), "production.pth", card)
    with pytest.raises(ModelDamagedError, match=r"isn't a plain network with width 6: 0.bias should be \(6,\)"):
        check_architecture((model / "production.pth").read_bytes(), "production.pth", {**card, "width": 6})
    kept = parse_config(json.loads((result.run_dir / "config.json").read_text()), "the run's config")
    assert (kept.model, kept.hash) == (config.model, config.hash)

    (model / "production.onnx").unlink()
    assert export_cli.COMMAND([str(model)]) == 0
    assert json.loads((model / "production.json").read_text()) == card
    predictor = Predictor(model, threads=1)
    assert predictor.logits(np.zeros((1, 3, 20, 12), np.float32)).shape == (1, 1, 20, 12)

    (tmp_path / "shown").mkdir()
    tested = {row["stem"]: row["dice"] for row in scores}
    pairs = [pair for pair in find_pairs(tmp_path / "photos") if pair.stem in tested]
    (tmp_path / "shown" / pairs[0].image.name).write_bytes(pairs[0].image.read_bytes())
    places = ["--input", tmp_path / "shown", "--output", tmp_path / "masks", "--model", model]
    assert cli.COMMAND([str(word) for word in places]) == 0
    written = (tmp_path / "masks" / f"{pairs[0].stem}.png").read_bytes()

    files = {DataItem(p.stem, sha256_file(p.image), sha256_file(p.mask), "test"): p for p in pairs}
    images = score_images(files, predictor, None, data=config.data, grid=config.evaluation.grid)
    assert {image.stem: image.challenger.dice for image in images} == pytest.approx(tested, abs=0.02)
    side = GateModel("run", "run", None, predictor.weights_sha256, PREPROCESSING, predictor.input_size)
    evidence = GateEvidence(side, None, images, "t" * 64, config.evaluation.grid)
    assert judge(evidence, config.gate, decided_at="2026-11-27T12:00:00+00:00").verdict.decision == "improved"

    promote(model, tmp_path / "ledger", 1)
    served = load_model(model, tmp_path / "ledger", threads=1)
    assert isinstance(served, ServedModel), served
    assert mark(served.predictor, pairs[0].image.read_bytes(), max_megapixels=50).png == written
    assert read_image(pairs[0].image).shape[:2] == served.predictor.predict(read_image(pairs[0].image)).shape


def test_the_recipe_is_held_to_its_own_network(plain: str, tmp_path: Path) -> None:
    assert recipe(tmp_path, architecture=plain).hash != recipe(tmp_path, architecture=plain, width=8).hash
    for settings, words in (
        ({"architecture": "plian"}, r"model: there is no architecture 'plian', did you mean 'plain'"),
        ({"architecture": "../os"}, r"there is no architecture '../os', valid ones are plain, unet"),
        ({"architecture": plain, "channels": [2]}, r"unknown key 'model.channels'"),
        ({"architecture": plain, "widht": 3}, r"unknown key 'model.widht', did you mean 'width'"),
        ({"architecture": plain, "width": 0}, r"model.width: "),
        ({}, r"size 36 isn't a multiple of 16; take 32 or 48"),
    ):
        with pytest.raises(ConfigError, match=words):
            recipe(tmp_path, **settings)
    whole = config_in(tmp_path)
    assert "architecture" not in whole.model_dump(mode="json")["model"]
    named = config_in(tmp_path, model={"architecture": "unet"})
    assert (named, named.hash) == (whole, whole.hash)


@pytest.mark.parametrize("name", [*architectures(), "plain"])
def test_every_specification_is_that_of_its_network(name: str, plain: str) -> None:
    """Tensors, parameters and multiply-adds, counted by torch; and the stride that it takes."""
    spec = parse_model({"architecture": name})
    network = spec.build().eval()
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == spec.shapes()
    assert sum(value.numel() for value in network.parameters()) == spec.parameters
    side = 3 * spec.stride
    with torch.inference_mode(), FlopCounterMode(display=False) as counted:
        assert network(torch.rand(2, 3, side, side)).shape == (2, 1, side, side)
    assert counted.get_total_flops() == 2 * 2 * spec.macs(side)
    assert find_architecture(name).model_validate(yaml.safe_load(yaml.safe_dump(spec.model_dump(mode="json")))) == spec


def test_specifications_are_read_without_torch() -> None:
    code = (
        "import sys, wms.models as m; "
        "[m.parse_model({'architecture': name}).macs(512) for name in m.architectures()]; "
        "import wms.config, wms.metrics; assert not {'torch', 'onnx'} & sys.modules.keys()"
    )
    source = Path(wms.models.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], env=environment(PYTHONPATH=str(source)), check=True, timeout=60)
