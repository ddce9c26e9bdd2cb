"""`--fix` ends in good data, keeps every original, and may be killed anywhere."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from qa_data import checked, codes, copy, first
from small import ROOT, environment

from wms.data.images import read_image
from wms.data.masks import read_mask
from wms.data.qa.cli import COMMAND as main
from wms.data.synthetic import write_dataset
from wms.errors import DataQualityError
from wms.files import sha256_file

COUNT = 4


@pytest.fixture(scope="module")
def crude(tmp_path_factory) -> Path:
    """Pairs with JPEG masks; one photo is stored turned."""
    folder = tmp_path_factory.mktemp("crude") / "photos"
    write_dataset(folder, COUNT, seed=8, size=320, difficulty=0.3, mask_format="jpg")
    return folder


@pytest.fixture
def folder(crude, tmp_path) -> Path:
    return copy(crude, tmp_path / "photos")


def fix(folder: Path, *more: str) -> int:
    return main([str(folder), "--fix", "--cache", str(folder.parent / "qa-cache"), "--workers", "1", *more])


def contents(folder: Path) -> set[str]:
    """The hashes of all files anywhere in `folder`."""
    return {sha256_file(path) for path in folder.rglob("*") if path.is_file()}


def kept(folder: Path) -> list[Path]:
    return sorted(folder.glob("originals-*"))


def test_the_round_trip(folder, tmp_path, capsys):
    assert checked(folder)["status"] == "FAIL"
    before = contents(folder)
    photos = {path.stem: read_image(path) for path in (folder / "images").iterdir()}
    masks = {path.stem: read_mask(path) for path in (folder / "masks").iterdir()}
    assert fix(folder, "--output", str(tmp_path / "report.json")) == 0
    report = checked(folder)
    assert (report["status"], report["valid_pairs"], report["statistics"]["stored_turned"]) == ("PASS", COUNT, 0)
    assert {path.suffix for path in (folder / "masks").iterdir()} == {".png"}
    for path in (folder / "masks").iterdir():
        with Image.open(path) as picture:
            assert np.array_equal(np.asarray(picture), masks[path.stem])
    for path in (folder / "images").iterdir():
        difference = np.abs(read_image(path).astype(int) - photos[path.stem])
        assert difference.mean() < 1.5, "a turned photo is stored with the same quality"
    assert before <= contents(folder), "every original is still somewhere"
    (folder_of_originals,) = kept(folder)
    listed = json.loads((folder_of_originals / "fixes.json").read_text())
    assert len(listed) == COUNT + 1
    for entry in listed:
        assert sha256_file(folder / entry["original"]) == entry["sha256_before"]
        assert sha256_file(folder / entry["becomes"]) == entry["sha256_after"]
    assert json.loads((tmp_path / "report.json").read_text())["fixes"] == listed
    assert f"PASS: {COUNT} images" in capsys.readouterr().out
    after = contents(folder)
    assert fix(folder) == 0, "again, there is nothing to do"
    assert contents(folder) == after
    assert len(kept(folder)) == 1


def test_a_mask_of_0_and_1_keeps_its_shape(folder):
    fix(folder)
    _, mask = first(folder)
    before = read_mask(mask)
    Image.fromarray(before // 255).save(mask)
    assert fix(folder) == 0
    assert np.array_equal(read_mask(mask), before)


def test_what_only_a_person_can_decide_is_left_alone(folder):
    image, mask = (path.with_suffix(".jpg") for path in first(folder))
    shutil.copy(image, mask)
    before = sha256_file(mask)
    with pytest.raises(DataQualityError):
        fix(folder)
    assert sha256_file(mask) == before
    assert codes(checked(folder), "error") == {"mask-grey"}


def test_a_png_that_is_there_already_isnt_overwritten(folder):
    jpeg = first(folder)[1].with_suffix(".jpg")
    png = jpeg.with_suffix(".png")
    Image.fromarray(read_mask(jpeg)[::-1]).save(png)
    before = sha256_file(png), sha256_file(jpeg)
    with pytest.raises(DataQualityError):
        fix(folder)
    assert (sha256_file(png), sha256_file(jpeg)) == before
    assert "same-stem" in codes(checked(folder), "error")


KILLER = textwrap.dedent("""
    import os, signal, sys
    from wms.data.qa.cli import COMMAND as main
    calls = [int(sys.argv.pop(1))]

    def watch(event, arguments):
        # Every step that changes the data: a file replaced or removed, a journal line, a new folder.
        ours = [str(a) for a in arguments[:2] if isinstance(a, (str, os.PathLike))]
        writes = event in ("os.rename", "os.remove", "os.mkdir") or (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_WRONLY)
        if writes and any("/photos/" in path for path in ours):
            calls[0] -= 1
            if calls[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    main(sys.argv[1:])
""")


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 17, 24])
def test_killed_at_any_step_nothing_is_lost_and_the_next_run_ends_well(folder, step):
    before = contents(folder)
    command = [sys.executable, "-c", KILLER, str(step), str(folder), "--fix", "--workers", "1"]
    command += ["--cache", str(folder.parent / "qa-cache")]
    killed = subprocess.run(
        command, env=environment(PYTHONPATH=str(ROOT / "WMS" / "src")), check=False, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert before <= contents(folder), "a kill loses no original"
    assert fix(folder) == 0
    assert before <= contents(folder)
    assert {path.suffix for path in (folder / "masks").iterdir() if not path.name.startswith(".")} == {".png"}
    lists = [
        json.loads((place / "fixes.json").read_text()) for place in kept(folder) if (place / "fixes.json").exists()
    ]
    assert sorted(entry["file"] for entries in lists for entry in entries) == sorted(
        {e["file"] for es in lists for e in es}
    )
    assert sum(map(len, lists)) == COUNT + 1, "each change is listed once"
