"""One bad photo stops no other in a prediction or a data check, and what isn't read is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from entrance_table import REFUSED, WORKS, Row
from fuzz_exif import mutated_photo
from hard_photos import HEIC, TURNED_HEIC, heic_decoder, many_scans, stored, thin
from PIL import Image
from serving_workshop import export
from small import photos

from wms.data import heic
from wms.data.images import read_image
from wms.data.pairs import find_pairs
from wms.data.qa import validate_data
from wms.data.qa.cli import COMMAND as data_qa
from wms.errors import DataNotFoundError, DataQualityError, NotAnImageError, PairingError, UnwritableError, UsageError
from wms.inference import cli

PART = "photos"
__all__ = ["heic_decoder"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("models"))


def folder_of(path: Path, **files: bytes) -> Path:
    path.mkdir()
    for name, content in files.items():
        (path / name.replace("__", ".")).write_bytes(content)
    return path


def predict(source: Path, output: Path, models: Path) -> int:
    return cli.COMMAND(["--input", str(source), "--output", str(output), "--model", str(models), "--threads", "1"])


def test_each_bad_photo_is_listed_and_the_rest_is_done(
    tmp_path: Path, models: Path, entrance: Row, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heic, "find_spec", lambda _: None)
    folder = folder_of(
        tmp_path / "in",
        fine__jpg=stored("JPEG"),
        gif__gif=stored("GIF"),
        phone__JPE=stored("JPEG"),
        new__avif=stored("AVIF"),
        odd__jpg=mutated_photo(15).content,
        half__jpg=stored("JPEG")[:300],
        zero__jpg=b"",
        iphone__heic=HEIC,
        renamed__jpg=HEIC,
        text__png=b"Dear diary",
        scans__jpg=many_scans(),
        thin__png=thin(),
        raw__dng=stored("TIFF"),
        film__mp4=b"\0\0\0\x18ftypmp42",
        IMG_7=stored("JPEG"),
        notes__txt=b"Dear diary",
        same__png=stored("PNG"),
        same__bmp=stored("BMP"),
    )
    (folder / "folder.jpg").mkdir()
    (folder / "more").mkdir()
    os.mkfifo(folder / "pipe.jpg")
    (folder / "circle.jpg").symlink_to("circle.jpg")
    (folder / "nowhere.jpg").symlink_to("absent.jpg")
    (folder / ("n" * 250 + ".jpg")).write_bytes(stored("JPEG"))
    (folder / os.fsdecode(b"odd\xff.png")).write_bytes(stored("PNG"))
    assert predict(folder, tmp_path / "out", models) not in (0, 1)
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made == {
        "fine.png",
        "gif.png",
        "phone.png",
        "new.png",
        "odd.png",
        os.fsdecode(b"odd\xff.png"),
        "n" * 250 + ".png",
    }
    said = capsys.readouterr().out
    assert said.startswith("Predicted 7 of 23 photos in ")
    for name, reason in {
        "half.jpg": "damaged",
        "zero.jpg": "is empty (0 bytes)",
        "iphone.heic": "convert it to JPEG",
        "renamed.jpg": "convert it to JPEG",
        "text.png": "isn't an image",
        "scans.jpg": "passes",
        "thin.png": "more than the 20000",
        "raw.dng": "raw photo",
        "film.mp4": "video",
        "IMG_7": "ends in .jpeg",
        "notes.txt": "not a photo",
        "same.png": "would both become",
        "same.bmp": "would both become",
        "folder.jpg": "a folder",
        "more": "a folder",
        "pipe.jpg": "a named pipe",
        "circle.jpg": "can't be read",
        "nowhere.jpg": "can't be read",
    }.items():
        (line,) = (line for line in said.splitlines() if line.startswith(f"  {name}: "))
        assert reason in line
        entrance(PART, f"wms predict, {name} beside others", line[:70], REFUSED)
    entrance(PART, "wms predict with 18 bad entries among 25", said.splitlines()[0][:26], WORKS)


def test_a_single_photo_may_be_given(tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of(tmp_path / "in", a__jpg=stored("JPEG"), b=stored("JPEG"))
    assert predict(folder / "a.jpg", tmp_path / "out", models) == 0
    assert predict(folder / "b", tmp_path / "out", models) == NotAnImageError.exit_code
    assert "b: JPEG by its content" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]


@pytest.mark.parametrize("name", ["a.png", "a_overlay.jpg"])
def test_a_prediction_replaces_predictions_and_no_drawn_mask_or_photo(name: str, tmp_path: Path, models: Path) -> None:
    folder = folder_of(tmp_path / "in", a__jpg=stored("JPEG"))
    words = ["--input", str(folder), "--output", str(tmp_path / "out"), "--model", str(models), "--overlay"]
    for _ in range(2):
        assert cli.COMMAND(words) == 0
    path = tmp_path / "out" / name
    if name == "a.png":
        with Image.open(path) as predicted:
            predicted.transpose(Image.Transpose.ROTATE_180).save(path)  # as an editor of pictures writes a mask
    else:
        path.write_bytes(stored("JPEG"))
    before = {one.name: one.read_bytes() for one in path.parent.iterdir()}
    with pytest.raises(UsageError, match=f"{name} is there already and isn't a prediction of this command"):
        cli.COMMAND(words)
    assert {one.name: one.read_bytes() for one in path.parent.iterdir()} == before


def test_files_without_pictures_are_named_and_are_no_failure(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path / "in", a__jpg=stored("JPEG"), notes__txt=b"Dear diary")
    assert predict(folder, folder / "out", models) == predict(folder, folder / "out", models) == 0
    assert "Predicted 1 of 1 photos" in (said := capsys.readouterr().out)
    assert "  notes.txt: not a photo by its name and content.\n" in said
    assert "  out: " not in said


@pytest.mark.usefixtures("heic_decoder")
def test_heic_is_predicted_where_the_group_is_installed(tmp_path: Path, models: Path, entrance: Row) -> None:
    folder = folder_of(tmp_path / "in", a__HEIC=HEIC, b__jpg=HEIC)
    assert predict(folder, tmp_path / "out", models) == 0
    assert len(list((tmp_path / "out").iterdir())) == 2
    entrance(PART, "wms predict, HEIC with the group heic", "predicted 2 of 2", WORKS)


def test_a_folder_that_cannot_be_listed_and_one_that_cannot_be_written(tmp_path: Path, models: Path) -> None:
    folder = folder_of(tmp_path / "in", a__jpg=stored("JPEG"))
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UnwritableError):
        predict(folder, tmp_path / "out", models)
    with pytest.raises(DataNotFoundError):
        predict(tmp_path / "absent", tmp_path / "out2", models)
    assert PairingError.exit_code != NotAnImageError.exit_code


def test_the_script_prints_odd_names_to_any_terminal(tmp_path: Path, models: Path) -> None:
    folder = folder_of(tmp_path / "in", a__jpg=stored("JPEG"))
    (folder / os.fsdecode(b"odd\xff.png")).write_bytes(b"no picture")
    script = Path(cli.__file__).parents[2] / "predicts.py"
    command = [
        sys.executable,
        str(script),
        "--input",
        str(folder),
        "--output",
        str(tmp_path / "out"),
        "--model",
        str(models),
    ]
    done = subprocess.run(
        command, capture_output=True, check=False, env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0"}
    )
    assert done.returncode == NotAnImageError.exit_code
    assert b"Traceback" not in done.stderr
    assert b"odd" in done.stdout


def test_the_check_names_what_it_cannot_read(tmp_path: Path, entrance: Row) -> None:
    folder = photos(tmp_path, 3)
    a, b, c = sorted((folder / "images").iterdir())
    a.write_bytes(HEIC)
    b.with_suffix(".heic").write_bytes(HEIC)
    b.unlink()
    c.with_suffix(".dng").write_bytes(c.read_bytes())
    report = validate_data(folder, cache_folder=tmp_path / "cache", workers=1)
    problems = {(one["check"], Path(one["file"]).suffix) for one in report["problems"]}
    assert {("heic", a.suffix), ("heic", ".heic"), ("not-read", ".dng")} <= problems
    assert "convert it to JPEG" in str(report["problems"])
    assert not {"no-image", "no-mask"} & {one["check"] for one in report["problems"]}
    entrance(
        PART, "wms data check, HEIC, HEIC named .jpg, a raw photo", "heic, heic, not-read: how to convert", REFUSED
    )


@pytest.mark.usefixtures("heic_decoder")
def test_fix_makes_jpeg_of_heic_where_the_group_is_installed(
    tmp_path: Path, entrance: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = photos(tmp_path, 2)
    a, b = sorted((folder / "images").iterdir())
    a.write_bytes(HEIC)
    b.unlink()
    b.with_suffix(".HEIC").write_bytes(TURNED_HEIC)
    arguments = [str(folder), "--fix", "--cache", str(tmp_path / "cache"), "--workers", "1"]
    with monkeypatch.context() as patch:
        patch.setattr(heic, "find_spec", lambda _: None)
        with pytest.raises(DataQualityError):
            data_qa(arguments)
        assert (a.read_bytes(), b.with_suffix(".HEIC").read_bytes()) == (HEIC, TURNED_HEIC)
    with pytest.raises(DataQualityError):  # the masks don't fit in size
        data_qa(arguments)
    made = sorted((folder / "images").iterdir())
    assert [path.name for path in made] == [a.name, b.with_suffix(".jpg").name]
    assert [read_image(path).shape for path in made] == [(48, 64, 3), (64, 48, 3)]
    assert {path.read_bytes() for path in folder.glob("originals-*/images/*")} == {HEIC, TURNED_HEIC}
    entrance(PART, "wms data check --fix, HEIC with the group heic", "an upright JPEG, the original kept", WORKS)


def test_training_names_a_photo_that_it_cannot_read(tmp_path: Path, entrance: Row) -> None:
    folder = photos(tmp_path, 2)
    one = min((folder / "images").iterdir())
    one.rename(one.with_suffix(".HEIC"))
    with pytest.raises(NotAnImageError, match=r"\.HEIC isn't read: it is HEIC by its name; convert it to JPEG"):
        find_pairs(folder)
    entrance(PART, "wms train, images/x.HEIC", "HEIC; convert it to JPEG", REFUSED)


def test_a_jpeg_with_the_name_of_a_heic_photo_is_refused_by_the_check_as_by_the_hook(
    tmp_path: Path, entrance: Row
) -> None:
    folder = photos(tmp_path, 2)
    one = min((folder / "images").iterdir())
    one.rename(one.with_suffix(".HEIC"))
    report = validate_data(folder, cache_folder=tmp_path / "cache")
    assert [problem["check"] for problem in report["problems"] if problem["severity"] == "error"] == ["not-read"]
    assert report["errors"][0].endswith("has the name of a HEIC photo, but holds another kind; name it .jpg.")
    entrance(PART, "wms data check, a JPEG named x.HEIC", "name it .jpg", REFUSED)
