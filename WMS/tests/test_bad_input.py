"""Each mistake: one sentence, its own exit code, nothing half-written."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
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


def test_full_disk(folder):
    """A real full file system where one can be mounted; elsewhere /dev/full behind the metrics file."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    result = train_with_full_metrics(folder)
    check(result, errors.DiskFullError, "No space left")


def train_with_full_metrics(folder):
    """Train with metrics.jsonl leading to /dev/full, on which every write ends in ENOSPC."""
    script = folder / "full.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        f"sys.path[:0] = [{str(folder)!r}, {str(Path(errors.__file__).parents[1])!r}]\n"
        "from wms.errors import run_main\n"
        "from wms.training import pipeline\n"
        "make = pipeline.create_run\n"
        "def create_run(*arguments):\n"
        "    run = make(*arguments)\n"
        "    (run / 'metrics.jsonl').symlink_to('/dev/full')\n"
        "    return run\n"
        "pipeline.create_run = create_run\n"
        "from wms.training.cli import main\n"
        "sys.exit(run_main(main, sys.argv[1:]))\n"
    )
    from small import environment, train_command

    command = [sys.executable, str(script), *train_command(folder)[2:]]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=200, check=False)


def check(result, error, text):
    assert result.returncode == error.exit_code, result.stderr
    message = result.stderr.strip().splitlines()
    assert len(message) == 1, result.stderr
    assert text in message[0]
    assert "Traceback" not in result.stderr


def test_recipe_of_the_tests_is_plain_json():
    assert json.loads(json.dumps(recipe())) == recipe()
