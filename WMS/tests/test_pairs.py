"""Which mask belongs to which image."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from entrance_table import REFUSED, Row
from PIL import Image

from wms.config import DataConfig
from wms.data import pairs
from wms.data.pairs import find_pairs, list_images, read_pair
from wms.errors import DataNotFoundError, PairingError, SizeMismatchError, WmsError

NFC = unicodedata.normalize("NFC", "zähler é")
NFD = unicodedata.normalize("NFD", NFC)


def write(folder: Path, *names: str, size: tuple[int, int] = (8, 6)) -> Path:
    """Write images (or masks, by the part before the slash) below `folder`."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB" if name.startswith("images") else "L", size).save(path)
    return folder


def test_by_stem_whatever_the_extensions(tmp_path: Path) -> None:
    write(tmp_path, "images/b.jpg", "images/a.PNG", "images/c.d.webp")
    write(tmp_path, "masks/a.bmp", "masks/b.png", "masks/c.d.tif")
    (tmp_path / "images/notes.txt").write_text("not an image")
    (tmp_path / "images/.hidden.jpg").write_text("what macOS leaves")
    (tmp_path / "images/folder.jpg").mkdir()
    found = find_pairs(tmp_path)
    assert [(pair.stem, pair.image.name, pair.mask.name) for pair in found] == [
        ("a", "a.PNG", "a.bmp"),
        ("b", "b.jpg", "b.png"),
        ("c.d", "c.d.webp", "c.d.tif"),
    ]
    image, mask = read_pair(found[0], DataConfig())
    assert image.shape == (6, 8, 3)
    assert mask.shape == (6, 8)
    assert image.dtype == mask.dtype == np.uint8


@pytest.mark.parametrize(("image", "mask"), [(NFD, NFC), (NFC, NFD), (NFD, NFD)])
def test_composed_and_decomposed_names_are_one(tmp_path: Path, image: str, mask: str) -> None:
    write(tmp_path, f"images/{image}.jpg", f"masks/{mask}.png")
    (pair,) = find_pairs(tmp_path)
    assert pair.stem == NFC
    read_pair(pair, DataConfig())


@pytest.mark.parametrize(
    ("names", "kind", "words"),
    [
        (
            ["images/a.jpg", "images/a.png", "masks/a.png"],
            PairingError,
            ["a.jpg", "a.png", "claim the name 'a'"],
        ),
        (
            ["images/a.jpg", "masks/a.jpg", "masks/a.bmp"],
            PairingError,
            ["a.jpg", "a.bmp", "claim the name 'a'"],
        ),
        (
            [f"images/{NFC}.jpg", f"images/{NFD}.png", f"masks/{NFC}.png"],
            PairingError,
            [f"claim the name {NFC!r}"],
        ),
        (["images/a.jpg", "images/b.jpg", "masks/a.png"], PairingError, ["The image", "b.jpg", "add a mask"]),
        (["images/a.jpg", "masks/a.png", "masks/b.png"], PairingError, ["The mask", "b.png", "add an image"]),
        (
            ["images/a.jpg", "images/b.jpg", "images/c.jpg", "images/d.jpg", "masks/a.png"],
            PairingError,
            ["b.jpg (and 2 more images)"],
        ),
        ([], DataNotFoundError, ["Images directory not found: ", "images"]),
        (["images/a.jpg"], DataNotFoundError, ["Masks directory not found: ", "masks"]),
    ],
)
def test_refused(tmp_path: Path, names: list[str], kind: type[WmsError], words: list[str]) -> None:
    write(tmp_path, *names)
    with pytest.raises(kind) as caught:
        find_pairs(tmp_path)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize("pointer", ["images.dvc", "../data.dvc"])
def test_what_dvc_keeps_is_brought_by_dvc(tmp_path: Path, pointer: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    with pytest.raises(DataNotFoundError, match=r"create it .* or name another data set"):
        find_pairs(folder)
    (folder / pointer).write_text("outs: []\n", encoding="utf-8")
    with pytest.raises(DataNotFoundError, match="images; `dvc pull` or `wms data fetch` brings"):
        find_pairs(folder)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("set/images", "give the folder above, {0}/set: the folder that holds images/ and masks/"),
        ("set/masks", "give the folder above, {0}/set: "),
        ("set/Images", "give the folder above, {0}/set: "),
        ("set/images/a.png", "{0}/set/images/a.png is a file: give the folder that holds"),
        ("set.zip", "{0}/set.zip is a file: unpack it and give the folder that holds"),
        ("other", "rename {0}/other/Images to images"),
        ("half", "rename {0}/half/MASKS to masks"),
        (".", "give {0}/set, the folder that holds images/ and masks/"),
        ("nothing", "there is no folder {0}/nothing; give the folder that holds"),
    ],
)
def test_a_data_set_given_amiss(tmp_path: Path, given: str, words: str, entrance: Row) -> None:
    write(tmp_path / "set", "images/a.png", "masks/a.png", "Images/a.png")
    write(tmp_path / "other", "Images/a.png", "Masks/a.png")
    write(tmp_path / "half", "images/a.png", "MASKS/a.png")
    (tmp_path / "set.zip").touch()
    with pytest.raises(DataNotFoundError) as caught:
        find_pairs(tmp_path / given)
    text = str(caught.value)
    assert words.format(tmp_path) in text and text.endswith(".")
    entrance("the rest", f"--data {given}", text.replace(str(tmp_path), "~"), REFUSED)


@pytest.mark.parametrize("pulled", [False, True])
def test_the_clones_own_data_set_is_pulled(
    tmp_path: Path, pulled: bool, monkeypatch: pytest.MonkeyPatch, entrance: Row
) -> None:
    monkeypatch.setattr(pairs, "ROOT", tmp_path)
    own = tmp_path / pairs.OWN
    if pulled:  # the folders are there, and empty
        for part in ("images", "masks"):
            (own / part).mkdir(parents=True)
            (own / f"{part}.dvc").touch()
    with pytest.raises(DataNotFoundError, match="`dvc pull` or `wms data fetch` brings the data set") as caught:
        find_pairs(own)
    said = str(caught.value).replace(str(tmp_path), "~")
    entrance("the rest", f"train.py without data, folders {'empty' if pulled else 'missing'}", said, REFUSED)


@pytest.mark.parametrize("empty", ["images", "masks"])
def test_an_empty_folder(tmp_path: Path, empty: str) -> None:
    write(tmp_path, *(f"{folder}/a.png" for folder in {"images", "masks"} - {empty}))
    (tmp_path / empty).mkdir()
    with pytest.raises(DataNotFoundError, match=f"{empty} holds no image"):
        find_pairs(tmp_path)


def test_a_mask_of_another_size(tmp_path: Path) -> None:
    write(tmp_path, "images/a.jpg", size=(40, 30))
    write(tmp_path, "masks/a.png", size=(30, 40))
    (pair,) = find_pairs(tmp_path)
    with pytest.raises(SizeMismatchError) as caught:
        read_pair(pair, DataConfig())
    assert "30 x 40" in str(caught.value)
    assert "40 x 30" in str(caught.value)


def test_list_images_is_sorted(tmp_path: Path) -> None:
    write(tmp_path, "images/b.jpg", "images/a.png", "images/C.bmp")
    assert [path.name for path in list_images(tmp_path / "images")] == ["C.bmp", "a.png", "b.jpg"]
