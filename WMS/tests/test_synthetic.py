"""The generator of synthetic photos: repeatable, exact, honest about EXIF, no trap for a careless user."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from wms.data import synthetic
from wms.errors import DataNotFoundError, PairingError, UnwritableError, UsageError, run_main

COUNT, SIZE = 15, 160


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("meters")
    synthetic.write_dataset(target, COUNT, seed=7, size=SIZE)
    return target


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}


def upright(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def white_share(mask: Image.Image) -> float:
    return float(np.mean(np.asarray(mask) == 255))


def test_same_seed_writes_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    synthetic.write_dataset(tmp_path, COUNT, seed=7, size=SIZE)
    assert contents(tmp_path) == contents(folder)


def test_another_seed_draws_another_picture() -> None:
    first, second = (synthetic.draw_meter(seed, size=96).image.resize((96, 96)) for seed in (1, 2))
    assert first.tobytes() != second.tobytes()


def test_an_image_does_not_depend_on_the_count(folder: Path, tmp_path: Path) -> None:
    synthetic.write_dataset(tmp_path, 4, seed=7, size=SIZE)
    few, many = contents(tmp_path), contents(folder)
    assert len(few) == 8
    assert few.items() <= many.items()


def test_masks_are_black_and_white_and_as_large_as_the_upright_image(folder: Path) -> None:
    images = sorted((folder / "images").iterdir())
    assert len(images) == COUNT
    for path in images:
        with Image.open(folder / "masks" / f"{path.stem}.png") as mask:
            assert mask.mode == "L"
            assert set(np.unique(np.asarray(mask)).tolist()) == {0, 255}
            assert mask.size == upright(path).size
            assert max(mask.size) == SIZE


def test_names_carry_the_reading(folder: Path) -> None:
    for index, path in enumerate(sorted((folder / "images").iterdir())):
        reading = synthetic.draw_meter((7, index), size=64).reading  # the size doesn't change what is shown
        assert path.stem == f"meter_{index:04d}_value_{reading.replace('.', '_')}"
        assert 5 <= len(reading.replace(".", "")) <= 8


def test_the_strip_covers_what_it_covers_on_real_photos() -> None:
    shares = [white_share(synthetic.draw_meter((0, index), size=96).mask) for index in range(60)]
    assert min(shares) > 0.004
    assert max(shares) < 0.085
    assert 0.015 < float(np.median(shares)) < 0.035


def test_some_images_are_stored_turned_and_stand_upright_after_transposing(folder: Path) -> None:
    orientations = []
    for index, path in enumerate(sorted((folder / "images").iterdir())):
        with Image.open(path) as image:
            orientations.append(image.getexif().get(synthetic.ORIENTATION_TAG, 1))
        drawn = np.asarray(synthetic.draw_meter((7, index), size=SIZE).image, dtype=float)
        stored = np.asarray(upright(path), dtype=float)
        assert stored.shape == drawn.shape
        assert np.abs(stored - drawn).mean() < 6  # only JPEG's loss is left
    assert sorted(set(orientations)) == [1, 3, 6, 8]
    assert sum(value != 1 for value in orientations) == COUNT // 5


def test_without_exif_no_image_is_turned(tmp_path: Path) -> None:
    for path in synthetic.write_dataset(tmp_path, 4, seed=1, size=64, with_exif=False):
        with Image.open(path) as image:
            assert synthetic.ORIENTATION_TAG not in image.getexif()


def test_the_mask_lies_on_the_strip_of_an_easy_picture() -> None:
    """Inside the mask there are digits on wheels, so it has far more contrast than a plain dial."""
    inside, around = [], []
    for index in range(12):
        meter = synthetic.draw_meter((3, index), size=256, difficulty=0)
        grey, mask = np.asarray(meter.image.convert("L"), dtype=float), np.asarray(meter.mask) > 0
        inside.append(grey[mask].std())
        around.append(np.median(np.abs(np.diff(grey, axis=1))))
    assert min(inside) > 25
    assert max(around) < 5


def test_the_brightest_pixels_are_no_solution() -> None:
    scores = []
    for index in range(20):
        meter = synthetic.draw_meter((4, index), size=96)
        grey, truth = np.asarray(meter.image.convert("L")), np.asarray(meter.mask) > 0
        guess = grey >= np.quantile(grey, 1 - truth.mean())
        scores.append(2 * (guess & truth).sum() / (guess.sum() + truth.sum()))
    assert float(np.mean(scores)) < 0.3


@pytest.mark.parametrize("mask_format", ["jpg", "bmp"])
def test_other_mask_formats(tmp_path: Path, mask_format: str) -> None:
    synthetic.write_dataset(tmp_path, 1, seed=1, size=64, mask_format=mask_format)
    assert [path.suffix for path in (tmp_path / "masks").iterdir()] == [f".{mask_format}"]


def test_bad_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="count of 1"):
        synthetic.write_dataset(tmp_path, 0, seed=1)
    with pytest.raises(UsageError, match="png, jpg, bmp"):
        synthetic.write_dataset(tmp_path, 1, seed=1, mask_format="tiff")
    with pytest.raises(UsageError, match="from 0 to 2"):
        synthetic.write_dataset(tmp_path, 1, seed=1, difficulty=float("nan"))
    with pytest.raises(UsageError, match="seed of -1"):
        synthetic.write_dataset(tmp_path, 1, seed=-1)
    with pytest.raises(UsageError, match="64 or more"):
        synthetic.draw_meter(1, size=20)
    (tmp_path / "images").write_text("in the way")
    with pytest.raises(UnwritableError):
        synthetic.write_dataset(tmp_path, 1, seed=1, size=64)


def test_shuffled_masks_are_all_foreign_and_fit(folder: Path, tmp_path: Path) -> None:
    synthetic.write_dataset(tmp_path, COUNT, seed=7, size=SIZE)
    synthetic.shuffle_masks(tmp_path, seed=3)
    shuffled, original = contents(tmp_path), contents(folder)
    assert shuffled.keys() == original.keys()
    for name, content in original.items():
        assert (shuffled[name] == content) == name.startswith("images")
    for path in (tmp_path / "images").iterdir():
        with Image.open(tmp_path / "masks" / f"{path.stem}.png") as mask:
            assert mask.size == upright(path).size
            assert set(np.unique(np.asarray(mask)).tolist()) <= {0, 255}


def test_shuffling_needs_two_pairs(tmp_path: Path) -> None:
    images = synthetic.write_dataset(tmp_path, 2, seed=1, size=64)
    (tmp_path / "masks" / f"{images[0].stem}.png").unlink()
    with pytest.raises(PairingError, match=images[0].name):
        synthetic.shuffle_masks(tmp_path, seed=1)
    images[0].unlink()
    with pytest.raises(DataNotFoundError, match="found 1"):
        synthetic.shuffle_masks(tmp_path, seed=1)


def test_command_line_refuses_a_used_folder_unless_forced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "demo"
    arguments = [str(target), "--count", "3", "--seed", "1", "--size", "64"]
    assert run_main(synthetic.COMMAND, arguments) == 0
    (target / "notes.txt").write_text("mine")
    assert run_main(synthetic.COMMAND, arguments) == UsageError.exit_code
    assert "--force" in capsys.readouterr().err
    assert run_main(synthetic.COMMAND, [*arguments, "--count", "2", "--force", "--shuffle-masks"]) == 0
    assert len(list((target / "images").iterdir())) == 2
    assert (target / "notes.txt").read_text() == "mine"
