"""The pull request's pictures, from drawn scores and from real photos and models."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from report_values import START, gate_report
from small import config_in

from wms.data.pairs import find_pairs
from wms.data.preprocessing import PREPROCESSING
from wms.data.synthetic import write_dataset
from wms.data.versions import DataItem
from wms.files import sha256_file
from wms.inference.export import export_model
from wms.inference.predictor import Predictor
from wms.models.unet import UNet
from wms.registry.gate import judge
from wms.registry.gate_types import GateEvidence, GateModel
from wms_ops.gate.drawing import CHALLENGER, CHAMPION, TRUTH
from wms_ops.gate.evidence import Gathered
from wms_ops.gate.models import Contestant
from wms_ops.gate.scoring import score_images
from wms_ops.report.figures import PHOTOS, SCORES, FigureCase, draw_photos, draw_scores
from wms_ops.report.pictures import extremes, gate_pictures

# Its pictures


def size_of(png: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return image.size


@pytest.mark.parametrize("images", [1, 12, 700])
@pytest.mark.parametrize("first", [False, True])
def test_scores_are_drawn_for_few_and_many_photos(images: int, first: bool) -> None:
    width, height = size_of(draw_scores(gate_report(images, first=first)))
    assert 900 < width < 2000
    assert 300 < height < 1000


def test_a_strange_name_is_drawn_without_a_word() -> None:
    report = gate_report(
        stem="$\\frac{1}{ \u202e\u6c34\u8868 \U0001f4a7 {}".replace("{ ", "{{ ").replace("{1}", "{{1}}")
    )
    grey = np.full((60, 80, 3), 128, np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cases = [FigureCase(label, image, (("photo", grey), ("detail", grey))) for label, image in extremes(report)]
        assert size_of(draw_photos(cases, [("truth", (255, 255, 255))]))[0] > 500
    with pytest.raises(ValueError, match="no photo"):
        draw_photos([], [])


def test_extremes_are_what_gained_and_lost_most() -> None:
    report = gate_report(30)
    (gained, best), (lost, worst) = extremes(report)
    differences = [image.difference or 0 for image in report.images]
    assert (gained, best.difference) == ("Gained most", max(differences))
    assert (lost, worst.difference) == ("Lost most", min(differences))
    first = extremes(gate_report(30, first=True))
    scores = [image.challenger.dice for image in report.images]
    assert [(word, image.challenger.dice) for word, image in first] == [("Best", max(scores)), ("Worst", min(scores))]
    assert len(extremes(gate_report(1, first=True))) == 1


def test_pictures_of_a_decision_come_from_its_own_photos(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    write_dataset(tmp_path / "photos", 6, seed=5, size=96)
    channels = (2, 3, 4, 5, 6)
    models = []
    for seed, name in enumerate(("champion", "challenger")):
        torch.manual_seed(seed)
        settings = {
            "model": UNet(channels=channels),
            "input_size": 32,
            "threshold": 0.45,
            "mirror": False,
            "about": {"run": name},
        }
        export_model(UNet(channels=channels).build().state_dict(), tmp_path / name, **settings)
        side = GateModel(name * 4, name, None if seed else 1, f"{seed}" * 64, PREPROCESSING, 32)
        models.append(Contestant(side, (), Predictor(tmp_path / name)))
    champion, challenger = models
    pairs = find_pairs(tmp_path / "photos")
    files = {DataItem(p.stem, sha256_file(p.image), sha256_file(p.mask), "test"): p for p in pairs}
    scored = score_images(files, challenger.predictor, champion.predictor, data=config.data, grid=64)
    evidence = GateEvidence(challenger.side, champion.side, scored, "c" * 64, 64)
    report = judge(evidence, config.gate.model_copy(update={"mode": "off"}), decided_at=START.isoformat())
    pictures = gate_pictures(report, Gathered(evidence, challenger, champion, files), config)
    assert set(pictures) == {SCORES, PHOTOS}
    assert size_of(pictures[SCORES])[0] > 500
    drawn = np.asarray(Image.open(io.BytesIO(pictures[PHOTOS])).convert("RGB"))
    for colour in (TRUTH, CHAMPION, CHALLENGER):
        assert (np.abs(drawn.astype(int) - colour).max(axis=2) < 20).sum() > 200, f"no outline in {colour}"
