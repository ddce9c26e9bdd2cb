"""What was checked once isn't opened again; the cache may be killed, damaged, or deleted."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from PIL import Image
from qa_data import checked, copy, first, make
from small import ROOT, environment

from wms.data.synthetic import write_dataset
from wms.errors import UnwritableError

OLD, NEW = 5, 10


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("good") / "photos", OLD)


@pytest.fixture
def folder(good, tmp_path) -> Path:
    return copy(good, tmp_path / "photos")


def garble(path: Path) -> None:
    """Zeros in place of a file's bytes, with its size and times: opening it would be noticed."""
    status = path.stat()
    path.write_bytes(bytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def add_pairs(folder: Path, count: int) -> None:
    write_dataset(folder.parent / "more", count, seed=77, size=320, difficulty=0.3, with_exif=False)
    for part in ("images", "masks"):
        for path in (folder.parent / "more" / part).iterdir():
            shutil.copy(path, folder / part / f"new_{path.name}")


def read(report) -> tuple[int, int]:
    return report["statistics"]["files_read"], report["statistics"]["files_from_cache"]


def test_ten_new_pairs_read_ten_pairs_and_open_no_other(folder):
    cold = checked(folder)
    assert read(cold) == (2 * OLD, 0)
    assert read(checked(folder)) == (0, 2 * OLD)
    for path in [*(folder / "images").iterdir(), *(folder / "masks").iterdir()]:
        garble(path)
    add_pairs(folder, NEW)
    report = checked(folder)
    assert read(report) == (2 * NEW, 2 * OLD)
    assert report["status"] == "PASS", report["errors"]
    assert report["valid_pairs"] == OLD + NEW
    shutil.rmtree(folder.parent / "qa-cache")
    assert checked(folder)["valid_pairs"] == NEW, "without the cache the garbled files are found"


def test_content_counts_not_the_place(folder, tmp_path):
    checked(folder)
    moved = copy(folder, tmp_path / "elsewhere")
    for part in ("images", "masks"):
        for path in (moved / part).iterdir():
            path.rename(path.with_name(f"x_{path.name}"))
    assert read(checked(moved)) == (0, 2 * OLD)


def test_a_new_mask_reads_its_pair_alone(folder):
    checked(folder)
    _, mask = first(folder)
    with Image.open(mask) as picture:
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(mask)
    assert checked(folder)["statistics"]["files_read"] == 2


def test_only_new_leaves_out_what_passed_before(folder):
    image, _ = first(folder)
    with Image.open(image) as picture:
        picture.point(lambda value: value * 0.1).save(image)
    before = checked(folder)
    assert len(before["warnings"]) >= 1
    add_pairs(folder, 2)
    report = checked(folder, only_new=True)
    assert report["warnings"] == []
    assert report["valid_pairs"] == OLD + 2
    assert checked(folder)["warnings"] == before["warnings"]


def test_only_new_still_names_what_never_passed(folder):
    first(folder)[0].write_bytes(b"not an image")
    for _ in range(2):
        assert checked(folder, only_new=True)["status"] == "FAIL"


def test_a_damaged_cache_is_made_again(folder):
    before = checked(folder)
    (store,) = (folder.parent / "qa-cache").glob("*.sqlite")
    store.write_bytes(b"this is no database " * 100)
    (folder.parent / "qa-cache" / "hashes.json").write_text("{")
    after = checked(folder)
    assert read(after) == (2 * OLD, 0)
    assert after["errors"] == before["errors"]


def test_an_entry_that_makes_no_sense_is_read_again(folder):
    checked(folder)
    (store,) = (folder.parent / "qa-cache").glob("*.sqlite")
    with sqlite3.connect(store) as database:
        database.execute("UPDATE facts SET fact = '[1]' WHERE kind = 'image'")
    database.close()
    assert checked(folder)["status"] == "PASS"


def test_a_cache_folder_that_cant_be_is_a_sentence(folder, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UnwritableError, match="file"):
        checked(folder, cache_folder=tmp_path / "file" / "cache")


def test_several_processes_find_what_one_finds(tmp_path):
    folder = tmp_path / "photos"
    write_dataset(folder, 70, seed=5, size=96)
    one = checked(folder, cache_folder=tmp_path / "one", workers=1)
    two = checked(folder, cache_folder=tmp_path / "two", workers=2)
    assert one == two
    assert read(two) == (140, 0)


def test_killed_while_reading_it_goes_on_where_it_was(tmp_path):
    folder, cache = tmp_path / "photos", tmp_path / "cache"
    write_dataset(folder, 90, seed=5, size=96)
    command = [sys.executable, str(ROOT / "devops" / "scripts" / "data-qa.py"), str(folder), "--cache", str(cache)]
    with subprocess.Popen([*command, "--workers", "2"], env=environment(), stderr=subprocess.DEVNULL) as process:
        while not kept(cache):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.01)  # a poll's pause
        readers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
    assert readers
    assert not psutil.wait_procs(readers, timeout=60)[1], "the reading processes end with the one that began them"
    assert kept(cache)
    again = checked(folder, cache_folder=cache)
    assert sum(read(again)) == 180
    assert read(again)[0] < 180
    assert again == {**checked(folder, cache_folder=tmp_path / "other"), "statistics": again["statistics"]}


def kept(cache: Path) -> int:
    """Facts in the cache."""
    stores = list(cache.glob("*.sqlite"))
    if not stores:
        return 0
    database = sqlite3.connect(stores[0], timeout=30)
    try:
        return int(database.execute("SELECT count(*) FROM facts").fetchone()[0])
    except sqlite3.OperationalError:  # the table isn't there yet
        return 0
    finally:
        database.close()
