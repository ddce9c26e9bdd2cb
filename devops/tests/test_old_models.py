"""Models of older code: scored, tried and served as their own card says, whatever the newest models do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from next_preprocessing import NEXT, NEXT_NAME
from serving_workshop import promote
from small import ROOT, config_in

from wms.config import DataConfig
from wms.data import preprocessing
from wms.data.images import read_image
from wms.data.pairs import Sample, find_pairs
from wms.data.versions import DataItem
from wms.errors import ModelDamagedError, run_main
from wms.files import sha256_file
from wms.inference import cli
from wms.inference.export import export_again
from wms.inference.predictor import CARD, ONNX, Predictor
from wms.registry.gate_types import ScoredImage
from wms.registry.lineage_links import _check_settings
from wms.serving.model import NoModel, ServedModel, load_model
from wms.training.evaluation import load_case
from wms_ops.gate.scoring import score_images

SAMPLES = ROOT / "WMS/tests/samples/models"
TODAY = SAMPLES / "exif-rgb-bilinear-1"
"""A model with mirrored views, a second look and one strip, made by the code of 2026-11-28, with photos and masks."""


def score(challenger: Predictor, champion: Predictor | None = None, folder: Path = TODAY) -> Sequence[ScoredImage]:
    files = {DataItem(p.stem, sha256_file(p.image), sha256_file(p.mask), "test"): p for p in find_pairs(folder)}
    return score_images(files, challenger, champion, data=DataConfig(), grid=64)


@pytest.mark.parametrize("folder", sorted(SAMPLES.iterdir()), ids=lambda folder: folder.name)
def test_a_model_of_each_version_scores_what_it_scored_when_it_was_made(folder: Path) -> None:
    """Another ONNX Runtime may move a pixel on the edge; another preparation or another look moves far more."""
    predictor = Predictor(folder, threads=1)
    assert predictor.preprocessing == folder.name
    frozen = json.loads((folder / "scores.json").read_bytes())
    for image, pair, then in zip(score(predictor, folder=folder), find_pairs(folder), frozen, strict=True):
        assert image.stem == pair.stem == then["stem"]
        values = {**image.challenger.values, "marked": image.challenger.marked}
        assert values == pytest.approx({name: then[name] for name in values}, abs=0.02)
        photo = read_image(pair.image)
        assert predictor.probabilities(photo).mean(dtype=np.float64) == pytest.approx(then["probability"], rel=2e-3)
        box = predictor.look(photo).box
        assert (box and [box.left, box.top, box.side]) == (then["window"] and pytest.approx(then["window"]))
    assert len({then["dice"] for then in frozen}) == len(frozen), "the sample tells scores apart"


def test_training_prepares_photos_as_the_version_that_it_writes_on_the_card(tmp_path: Path) -> None:
    config = config_in(tmp_path, data={"cache": False, "cache_size": 80}, evaluation={"second_look": 0.5})
    version = preprocessing.VERSIONS[preprocessing.PREPROCESSING]
    for pair in find_pairs(TODAY):
        case, photo = load_case(Sample(pair, "", ""), config, 48), read_image(pair.image)
        assert np.array_equal(case.image.numpy()[None], version.to_input(photo, 48, None))
        assert case.detail is not None and np.array_equal(case.detail, version.shrink(photo, 80))


@pytest.fixture
def upgraded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code of a later day, whose models are trained with another preprocessing."""
    monkeypatch.setitem(preprocessing.VERSIONS, NEXT_NAME, NEXT)


def changed(folder: Path, **card: object) -> Path:
    """A copy of the sample in `folder`, another card."""
    shutil.copytree(TODAY, folder)
    values = json.loads((folder / CARD).read_bytes()) | card
    (folder / CARD).write_text(json.dumps(values), encoding="utf-8")
    return folder


def newer(folder: Path, name: str = NEXT_NAME, **settings: object) -> Path:
    """The sample's network as later code exports it: prepared in another way, and at another size."""
    changed(folder, preprocessing=name, input_size=32, **settings)
    export_again(folder)
    return folder


def as_code_of_today(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`newer`, whose name this code doesn't know any more afterwards."""
    with monkeypatch.context() as later:
        later.setitem(preprocessing.VERSIONS, NEXT_NAME, NEXT)
        return newer(folder)


def test_two_models_are_scored_each_by_its_own_card(upgraded: None, tmp_path: Path) -> None:
    champion, challenger = Predictor(TODAY, threads=1), Predictor(newer(tmp_path / "next"), threads=1)
    assert (champion.input_size, challenger.input_size) == (48, 32)
    alone = {image.stem: image.challenger for image in score(champion)}
    apart = {image.stem: image.challenger for image in score(challenger)}
    assert all(apart[stem] != alone[stem] for stem in alone), "the two preparations differ on each photo"
    for image in score(challenger, champion):
        assert (image.challenger, image.champion) == (apart[image.stem], alone[image.stem])
    swapped = [replace(image, challenger=alone[image.stem], champion=apart[image.stem]) for image in score(champion)]
    assert list(score(champion, challenger)) == swapped


def test_a_lone_onnx_file_knows_its_preprocessing(upgraded: None, tmp_path: Path) -> None:
    folder = newer(tmp_path / "next")
    expected = score(Predictor(folder, threads=1))
    for name in (CARD, "production.pth"):
        (folder / name).unlink()
    assert score(Predictor(folder / ONNX, threads=1)) == expected
    assert Predictor(folder / ONNX, threads=1).preprocessing == NEXT_NAME


def test_an_export_again_keeps_the_preprocessing(tmp_path: Path) -> None:
    """The ONNX file of the first version names no preprocessing, as it never did: equal weights give equal bytes."""
    again = export_again(changed(tmp_path / "again"))
    assert json.loads(again.card.read_bytes())["preprocessing"] == TODAY.name
    assert not [p.key for p in onnx.load(str(again.onnx)).metadata_props if p.key == "wms.preprocessing"]


def of_another_name(folder: Path, _: pytest.MonkeyPatch) -> Path:
    return changed(folder, preprocessing="letterbox-9")


def asking_for_a_third_look(folder: Path, _: pytest.MonkeyPatch) -> Path:
    shutil.copytree(TODAY, folder)
    graph = onnx.load(str(folder / ONNX))
    graph.metadata_props.add(key="wms.third_look", value="0.3")
    onnx.save(graph, str(folder / ONNX))
    card = json.loads((folder / CARD).read_bytes()) | {"onnx_sha256": sha256_file(folder / ONNX)}
    (folder / CARD).write_text(json.dumps(card), encoding="utf-8")
    return folder


NEWER: dict[str, tuple[Callable[[Path, pytest.MonkeyPatch], Path], str]] = {
    "card": (of_another_name, f"photos by letterbox-9, which is newer than this version (it knows {TODAY.name})"),
    "files": (as_code_of_today, f"prepares photos by {NEXT_NAME}, which is newer than this version"),
    "looks": (asking_for_a_third_look, "asks for third_look, which is newer than this version"),
}  # fmt: skip


@pytest.mark.parametrize("kind", NEWER)
def test_a_model_of_newer_code_is_refused_and_the_upgrade_is_named(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make, words = NEWER[kind]
    folder = make(tmp_path / "models", monkeypatch)
    command = ["--input", TODAY / "images", "--output", tmp_path / "masks", "--model", folder]
    assert run_main(cli.COMMAND, [str(word) for word in command]) == ModelDamagedError.exit_code
    said = capsys.readouterr().err
    assert words in said and "update this clone with `git pull` and `wms upgrade`." in said
    assert not (tmp_path / "masks").exists()
    promote(folder, tmp_path / "ledger", 1)
    served = load_model(folder, tmp_path / "ledger", threads=1)
    assert isinstance(served, NoModel) and words in served.why


def test_a_card_and_a_network_of_two_versions_are_no_model(upgraded: None, tmp_path: Path) -> None:
    mixed = changed(tmp_path / "mixed", preprocessing=NEXT_NAME)
    with pytest.raises(ModelDamagedError, match=rf"names the preprocessing {NEXT_NAME}, but production\.onnx was made"):
        Predictor(mixed)
    with pytest.raises(Exception, match=f"preprocessing is {NEXT_NAME}"):
        _check_settings((mixed / ONNX).read_bytes(), json.loads((mixed / CARD).read_bytes()))


def test_todays_model_is_tried_and_served_by_later_code(upgraded: None, tmp_path: Path) -> None:
    """The masks of `wms predict` and of the service are those of the gate's predictor."""
    folder = shutil.copytree(TODAY, tmp_path / "models")
    promote(folder, tmp_path / "ledger", 1)
    served = load_model(folder, tmp_path / "ledger", threads=1)
    assert isinstance(served, ServedModel), served
    command = ["--input", TODAY / "images", "--output", tmp_path / "masks", "--model", folder, "--threads", 1]
    assert cli.COMMAND([str(word) for word in command]) == 0
    for pair in find_pairs(TODAY):
        expected = served.predictor.predict(read_image(pair.image))
        assert np.array_equal(read_image(tmp_path / "masks" / f"{pair.stem}.png")[..., 0] > 127, expected)
