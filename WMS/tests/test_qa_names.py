"""Names that make trouble on some system are found and can be printed; ordinary ones pass. Folders may be missing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from qa_data import COUNT, checked, codes, first, second_image

pytest_plugins = ["qa_fixtures"]
UNSAFE = [
    "m" * 160,  # with folders above, too long for Windows
    "new\nline", "tab\tin", "bell\x07", "CON", "aux.b", "com1", "a:b", "a?b", "-rf", ".hidden", "e\u0301",
    "right\u202eleft", "del\x7f"
]  # fmt: skip


@pytest.mark.parametrize("stem", UNSAFE)
def test_an_unsafe_name_is_an_error_and_can_be_printed(folder, stem):
    second_image(folder, stem)
    report = checked(folder)
    bad = [p for p in report["problems"] if p["check"] == "unsafe-name"]
    assert len(bad) == 2, "image and mask"
    assert all(text.isprintable() for text in report["errors"])


@pytest.mark.parametrize("name", ["trailing dot.jpg.", "trailing space.jpg "])
def test_a_name_that_windows_would_cut_is_an_error(folder, name):
    (folder / "images" / name).write_text("x")
    assert "unsafe-name" in codes(checked(folder), "error")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_name_that_is_no_text_is_an_error_and_can_be_written(folder):
    Path(os.fsdecode(os.fsencode(folder / "images") + b"/caf\xe9.jpg")).write_bytes(first(folder)[0].read_bytes())
    report = checked(folder)
    assert "unsafe-name" in codes(report, "error")
    assert "caf\\xe9" in "".join(report["errors"]).encode("utf-8").decode("utf-8")


@pytest.mark.parametrize(
    "stem", ["with space", "Zähler – Keller", "水道メーター", "family 👩\u200d👩\u200d👧", "v1.2 (3)", "a,b'c&d"]
)
def test_an_ordinary_name_is_fine(folder, stem):
    second_image(folder, stem)
    report = checked(folder)
    assert report["status"] == "PASS", report["errors"]
    assert report["valid_pairs"] == COUNT + 1


def test_hidden_companions_are_nobodys_business(folder):
    for name in (".gitkeep", ".gitignore", ".DS_Store"):
        (folder / "images" / name).write_text("x")
    assert checked(folder)["warnings"] == []


@pytest.mark.parametrize("missing", ["images", "masks"])
def test_a_missing_folder_is_reported_not_raised(folder, missing):
    shutil.rmtree(folder / missing)
    report = checked(folder)
    assert report["status"] == "FAIL"
    assert any(
        e.startswith(f"{missing.capitalize()} directory not found: {folder / missing}") for e in report["errors"]
    )


def test_an_empty_folder_is_an_error(tmp_path):
    for part in ("images", "masks"):
        (tmp_path / "photos" / part).mkdir(parents=True)
    report = checked(tmp_path / "photos")
    assert len(report["errors"]) == 2
    assert all("holds no image" in error for error in report["errors"])
