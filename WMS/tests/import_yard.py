"""Exports for the tests of `wms data import`, and ways to look at what was imported."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wms.data.importing.cli import COMMAND
from wms.data.masks import read_mask

SAMPLES = Path(__file__).parent / "samples" / "import"
LABEL = "strip"
BOX = [30, 40, 150, 40, 150, 90, 30, 90]


def run(source: Path, to: Path, *more: object) -> int:
    """Import with the command's own parser; raises its errors."""
    return COMMAND([str(source), "--to", str(to), *map(str, more)])


def mask_of(to: Path, name: str) -> np.ndarray:
    """An imported mask as the training reads it: True where the strip is."""
    return read_mask(to / "masks" / f"{name}.png") > 127


def iou(one: np.ndarray, other: np.ndarray) -> float:
    assert one.shape == other.shape
    return float((one & other).sum() / (one | other).sum())


def files(folder: Path) -> list[str]:
    """All files below a folder, which may not exist."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def photo(path: Path, name: str = "plain") -> Path:
    """A copy of a sample's photo, 320 x 240 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(SAMPLES / "photos" / f"{name}.jpg", path)
    return path


def coco(folder: Path, segmentation: Any = None, *, name: str = "a.jpg", **more: Any) -> Path:
    """A COCO export of one photo in `folder`; `more` replaces whole lists, or values of the only annotation."""
    photo(folder / "a.jpg")
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": segmentation or [BOX], "bbox": [0, 0, 9, 9]}
    values = {
        "images": [{"id": 1, "file_name": name, "width": 320, "height": 240}],
        "annotations": [annotation],
        "categories": [{"id": 1, "name": LABEL}],
    }
    write(folder / "labels.json", {**values, **more})
    return folder


def write(path: Path, values: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(values if isinstance(values, str) else json.dumps(values), encoding="utf-8")
    return path


def save_mask(path: Path, mask: np.ndarray, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path, **options)


def xml(text: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write(folder / "annotations.xml", text)
        return folder

    return make


def text(name: str, content: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        photo(folder / "images" / "a.jpg")
        write(folder / name, content)
        return folder

    return make
