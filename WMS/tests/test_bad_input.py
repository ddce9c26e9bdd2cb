"""Each mistake: one sentence, its own exit code, nothing half-written."""

import json
import shutil
import subprocess

import pytest
from PIL import Image
from servers import cannot_test
from small import photos, recipe, train, write_recipe

from wms import errors


@pytest.fixture
def folder(tmp_path):
    photos(tmp_path, 12)
    write_recipe(tmp_path)
    return tmp_path


def some(folder, kind):
    return sorted((folder / "photos" / kind).iterdir())[3]


def config_typo(folder):
    write_recipe(folder, training={"bath_size": 4})
    return errors.ConfigError, "did you mean 'batch_size'"


def missing_mask(folder):
    some(folder, "masks").unlink()
    return errors.PairingError, some(folder, "images").name


def grey_mask(folder):
    path = some(folder, "masks")
    with Image.open(path) as mask:
        Image.new("L", mask.size, 120).save(path)
    return errors.GreyMaskError, path.name


def other_size(folder):
    path = some(folder, "masks")
    Image.new("L", (50, 40)).save(path)
    return errors.SizeMismatchError, "50 x 40"


def empty_folder(folder):
    for path in (folder / "photos" / "images").iterdir():
        path.unlink()
    return errors.DataNotFoundError, "holds no image"


def missing_folder(folder):
    shutil.rmtree(folder / "photos" / "images")
    return errors.DataNotFoundError, "Images directory not found"


def truncated_jpeg(folder):
    path = some(folder, "images")
    path.write_bytes(path.read_bytes()[:1500])
    return errors.TruncatedImageError, path.name


def text_named_jpg(folder):
    path = some(folder, "images")
    path.write_text("not a photo")
    return errors.NotAnImageError, path.name


def too_few(folder):
    for kind in ("images", "masks"):
        for path in sorted((folder / "photos" / kind).iterdir())[4:]:
            path.unlink()
    return errors.SplitError, "at least 6"


MISTAKES = [
    config_typo, missing_mask, grey_mask, other_size, empty_folder, missing_folder, truncated_jpeg, text_named_jpg,
    too_few,
]  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_mistakes_in_config_and_data(folder, mistake):
    error, text = mistake(folder)
    check(train(folder), error, text)
    assert not list((folder / "runs").glob("run_*")), "no run folder is left"
    assert not (folder / "splits.jsonl").exists(), "no split is recorded"


def test_unknown_devices(folder):
    check(train(folder, "--device", "gpu"), errors.DeviceError, "Unknown device 'gpu'")
    check(train(folder, "--device", "cuda:99"), errors.DeviceError, "isn't here")
    assert not (folder / "runs").exists()


def test_resume_without_a_run_or_with_another_config(folder):
    check(train(folder, "--resume"), errors.NothingToResumeError, "no run")
    assert train(folder).returncode == 0
    write_recipe(folder, optimiser={"learning_rate": 0.02})
    check(train(folder, "--resume"), errors.ResumeMismatchError, "optimiser.learning_rate")
    write_recipe(folder)
    check(train(folder, "--resume", "run_of_somebody"), errors.NothingToResumeError, "run_of_somebody")


def test_resume_with_other_data(folder):
    assert train(folder).returncode == 0
    path = some(folder, "masks")
    with Image.open(path) as mask:
        mask.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
    check(train(folder, "--resume"), errors.ResumeMismatchError, "other data")


def test_unwritable_run_folder(folder):
    (folder / "runs").write_text("a file where the folder should be")
    check(train(folder), errors.UnwritableError, str(folder / "runs"))


@pytest.fixture
def small_disk(folder):
    """folder/runs as a file system of 256 KiB; mounting one takes root."""
    runs = folder / "runs"
    runs.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "wms-test", str(runs)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        cannot_test("no small file system can be mounted here, which takes root")
    yield runs
    subprocess.run(["umount", "-l", str(runs)], check=True)


def test_full_disk(folder, small_disk):
    (small_disk / "somebody's").write_bytes(bytes(150 * 1024))  # what is left holds the books, no checkpoint
    check(train(folder), errors.DiskFullError, "No space left")
    assert not list(small_disk.rglob("*.tmp")), "nothing half-written is left"


def check(result, error, text):
    assert result.returncode == error.exit_code, result.stderr
    message = result.stderr.strip().splitlines()
    assert len(message) == 1, result.stderr
    assert text in message[0]
    assert "Traceback" not in result.stderr


def test_recipe_of_the_tests_is_plain_json():
    assert json.loads(json.dumps(recipe())) == recipe()
