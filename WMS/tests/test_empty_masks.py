"""No empty mask is a success: what only reads as empty is refused, and what is empty is in no mean."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from label_masks import CLASSES, HIDING
from PIL import Image
from qa_data import checked, codes, problem
from small import config_in, only_run, photos, random_network, train, write_recipe

from wms.data.masks import read_mask
from wms.data.pairs import read_pair
from wms.data.qa.cli import COMMAND as data_qa
from wms.errors import EmptyMaskError, MaskClassesError, UselessModelError, WmsError
from wms.files import sha256_file
from wms.training.distributed import Processes
from wms.training.evaluation import evaluate
from wms.training.loop import Trainer
from wms.training.prepare import load_samples, split_samples
from wms.training.tracker import ExperimentTracker

STRIP = np.pad(np.ones((8, 30), bool), ((20, 20), (10, 8)))


def redraw(mask: Path, kind: str) -> Path:
    """Store a mask's strip as another tool would; returns the new file."""
    suffix, draw = HIDING[kind]
    strip = read_mask(mask) > 0
    mask.unlink()
    path = mask.with_suffix(f".{suffix}")
    draw(strip).save(path)
    return path


def empty(mask: Path) -> None:
    with Image.open(mask) as picture:
        size = picture.size
    Image.new("L", size).save(mask)


def masks_of(folder: Path) -> list[Path]:
    return sorted((folder / "masks").iterdir())


def truth(kind: str, strip: np.ndarray) -> np.ndarray:
    return np.ones_like(strip) if kind == "0 and 1, all of it" else strip


@pytest.mark.parametrize("kind", HIDING)
def test_a_mask_of_another_tool_is_read_or_refused_by_name(tmp_path: Path, kind: str) -> None:
    suffix, draw = HIDING[kind]
    path = tmp_path / f"strip.{suffix}"
    draw(STRIP).save(path)
    if kind not in CLASSES:
        np.testing.assert_array_equal(read_mask(path) > 0, truth(kind, STRIP))
        return
    with pytest.raises(
        MaskClassesError, match=r"holds \d classes and doesn't tell which of them is the strip"
    ) as caught:
        read_mask(path)
    assert str(path) in str(caught.value)
    assert "--fix --class N" in str(caught.value) or "--fix --colour R,G,B" in str(caught.value)


def test_a_dim_area_beside_a_white_line_is_refused_by_name(tmp_path: Path) -> None:
    mask = np.zeros((80, 80), np.uint8)
    mask[:40], mask[64:68] = 32, 255
    path = tmp_path / "dim.jpg"
    Image.fromarray(mask).save(path, quality=95)
    with pytest.raises(EmptyMaskError, match=r"dim\.jpg would lose most of what it marks.*paint the strip white"):
        read_mask(path)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "I;16", "I", "F"])
def test_an_empty_mask_is_read_as_what_it_is(tmp_path: Path, mode: str) -> None:
    path = tmp_path / f"nothing.{'tif' if mode in 'IF' else 'png'}"
    Image.new(mode, (9, 7)).save(path)
    assert not read_mask(path).any()


@pytest.mark.parametrize("kind", HIDING)
def test_training_reads_it_or_refuses_it_and_writes_nothing(tmp_path: Path, kind: str) -> None:
    folder = photos(tmp_path, 12)
    strips = [read_mask(mask) > 0 for mask in masks_of(folder)]
    paths = [redraw(mask, kind) for mask in masks_of(folder)]
    if kind not in CLASSES:
        samples = load_samples(config_in(tmp_path))
        for sample, strip in zip(samples, strips, strict=True):
            _, mask = read_pair(sample.pair, config_in(tmp_path).data)
            np.testing.assert_array_equal(mask > 0, truth(kind, strip))
        return
    with pytest.raises(MaskClassesError, match=r"masks/.*doesn't tell which") as caught:
        split_samples(load_samples(config_in(tmp_path)), config_in(tmp_path))
    assert paths[0].parent.as_posix() in str(caught.value)
    assert not (tmp_path / "splits.jsonl").exists()


@pytest.mark.parametrize("kind", HIDING)
def test_the_data_check_names_it_and_fix_never_empties_it(tmp_path: Path, kind: str) -> None:
    folder = photos(tmp_path, 2)
    strip = read_mask(masks_of(folder)[0]) > 0
    mask = redraw(masks_of(folder)[0], kind)
    report = checked(folder)
    assert report["status"] == "FAIL"
    found = codes(report, "error") & {"mask-classes", "mask-not-binary", "mask-full"}
    assert found and "mask-empty" not in codes(report, "error"), report["errors"]
    assert f"masks/{mask.name}" in problem(report, found.pop())["files"]
    before = sha256_file(mask)
    with contextlib.suppress(WmsError):
        data_qa([str(folder), "--fix", "--cache", str(tmp_path / "cache"), "--workers", "1"])
    now = masks_of(folder)[0]
    assert (sha256_file(now) == before) == (kind in CLASSES)
    if kind not in CLASSES:
        np.testing.assert_array_equal(np.asarray(Image.open(now)), truth(kind, strip) * np.uint8(255))
        assert any(sha256_file(path) == before for path in folder.glob("originals-*/masks/*"))


@pytest.mark.parametrize("count", [12, 9])
def test_a_data_set_of_mostly_empty_masks_is_refused_before_anything_is_recorded(tmp_path: Path, count: int) -> None:
    folder = photos(tmp_path, 12)
    write_recipe(tmp_path)
    for mask in masks_of(folder)[:count]:
        empty(mask)
    done = train(tmp_path)
    assert done.returncode == EmptyMaskError.exit_code, done.stderr
    assert f"{count} of 12 masks" in done.stderr and masks_of(folder)[0].name in done.stderr
    assert not list((tmp_path / "runs").glob("run_*")) and not (tmp_path / "splits.jsonl").exists()


def test_a_split_of_mostly_empty_masks_is_refused(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    photos(tmp_path, 24)
    test = split_samples(load_samples(config), config).splits["test"]
    for sample in test:
        empty(sample.pair.mask)
    with pytest.raises(EmptyMaskError, match=rf"{len(test)} of {len(test)} masks of the test split"):
        split_samples(load_samples(config), config)


def test_a_photo_without_a_strip_is_in_no_mean(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    photos(tmp_path, 24)
    samples = load_samples(config)
    model, alone = random_network(config.model.channels), Processes(torch.device("cpu"))
    before = evaluate(model, samples, config, size=48, processes=alone)
    empty(samples[3].pair.mask)
    changed = load_samples(config)
    assert [sample.has_strip for sample in changed].count(False) == 1
    after = evaluate(model, changed, config, size=48, processes=alone)
    assert [score.stem for score in after] == [s.stem for s in before if s.stem != samples[3].pair.stem]
    for sample in changed:
        empty(sample.pair.mask)
    with pytest.raises(EmptyMaskError, match="None of 24 masks"):
        evaluate(model, load_samples(config), config, size=48, processes=alone)


def test_a_picture_that_augmentation_leaves_without_a_strip_is_in_no_training_mean(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    trainer = Trainer(config, {"train": (), "val": ()}, Processes(torch.device("cpu")))
    nothing, strip = torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)
    strip[0, 1:3] = 1
    truth = torch.stack([nothing, strip])
    trainer._count(torch.zeros(2), torch.full((2, 1, 4, 4), -1.0), truth)
    assert (trainer.at.images, trainer.at.with_strip, trainer.at.dice) == (2, 1, 0.0)
    trainer._count(torch.zeros(2), truth * 2 - 1, truth)
    assert (trainer.at.images, trainer.at.with_strip, trainer.at.dice) == (4, 2, 1.0)


def test_a_model_that_marks_nothing_is_no_success(tmp_path: Path) -> None:
    folder = photos(tmp_path, 12)
    for mask in masks_of(folder)[:3]:
        empty(mask)
    write_recipe(tmp_path, optimiser={"learning_rate": 1e-12}, evaluation={"grid": 64, "threshold": 0.99})
    done = train(tmp_path)
    assert done.returncode == UselessModelError.exit_code, done.stdout + done.stderr
    assert "Test Dice 0.0000, IoU 0.0000" in done.stdout
    assert "marks nothing on any test photo" in done.stderr
    assert "warning: empty masks" in done.stdout
    run = only_run(tmp_path / "runs")
    for split in ("train", "val", "test"):
        assert ExperimentTracker(run).get_metrics(split, "dice")["value"].max() < 0.3, split


def test_a_checkpoint_of_an_older_version_goes_on(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    trainer = Trainer(config, {"train": (), "val": ()}, Processes(torch.device("cpu")))
    state = trainer._state()
    state["position"] |= {"images": 7, "dice": 3.5}
    del state["position"]["with_strip"]
    trainer.resume(state)
    assert trainer.at == replace(trainer.at, images=7, with_strip=7, dice=3.5)
