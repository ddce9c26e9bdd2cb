"""A small good data set for the tests of the data check, and ways to look into a report."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from PIL import Image, ImageFilter, ImageOps

from wms.data.qa.validate import check
from wms.data.synthetic import write_dataset

COUNT = 6


def make(folder: Path, count: int = COUNT, seed: int = 8) -> Path:
    """`count` synthetic pairs without EXIF, 320 pixels, in `folder`."""
    write_dataset(folder, count, seed=seed, size=320, difficulty=0.3, with_exif=False)
    return folder


def copy(good: Path, folder: Path) -> Path:
    """A copy of the good data set that a test may spoil."""
    shutil.copytree(good, folder)
    return folder


def first(folder: Path) -> tuple[Path, Path]:
    """The first pair's files."""
    image = sorted((folder / "images").iterdir())[0]
    return image, folder / "masks" / f"{image.stem}.png"


def checked(folder: Path, **options: Any) -> dict[str, Any]:
    """The report on `folder`, with its cache beside it and read in this process."""
    return check(folder, **{"cache_folder": folder.parent / "qa-cache", "workers": 1, **options}).report


def codes(report: dict[str, Any], severity: str) -> set[str]:
    """The checks that found something of a severity."""
    return {problem["check"] for problem in report["problems"] if problem["severity"] == severity}


def problem(report: dict[str, Any], check: str) -> dict[str, Any]:
    """The first problem of a check."""
    return next(problem for problem in report["problems"] if problem["check"] == check)


def second_image(folder: Path, name: str) -> Path:
    """Another pair called `name`, with a photo of its own."""
    image, mask = first(folder)
    path = folder / "images" / f"{name}.jpg"
    with Image.open(image) as picture:
        ImageOps.mirror(picture).filter(ImageFilter.GaussianBlur(0.3)).save(path)
    with Image.open(mask) as picture:
        ImageOps.mirror(picture).save(folder / "masks" / f"{name}.png")
    return path


def save(picture: Image.Image, path: Path, orientation: int = 1) -> None:
    """Write a picture, with an EXIF orientation if it isn't 1."""
    exif = Image.Exif()
    if orientation != 1:
        exif[0x0112] = orientation
    picture.save(path, exif=exif)
