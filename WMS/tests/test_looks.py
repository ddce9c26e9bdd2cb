"""Perceptual hashes: near for one photo stored in several ways, far for different photos."""

from __future__ import annotations

import itertools
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from wms.config import DataConfig
from wms.data.bare import ORIENTATION_TAG
from wms.data.looks import look_of
from wms.data.synthetic import draw_meter
from wms.errors import ImageTooLargeError, NotAnImageError

LIMIT = DataConfig().near_duplicate_bits


@cache
def meter(seed: int) -> Image.Image:
    return draw_meter((11, seed), size=768).image


def look(image: Image.Image, path: Path, **options: Any) -> str:
    image.save(path, **options)
    return look_of(path)[:64]


def distance(one: str, other: str) -> int:
    """Hamming distance in bits."""
    return (int(one, 16) ^ int(other, 16)).bit_count()


def test_64_hex_digits(tmp_path: Path) -> None:
    found = look(meter(0), tmp_path / "a.png")
    assert len(found) == 64
    assert len(bytes.fromhex(found)) == 32


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("scale", "name"), [(1, "a.jpg"), (2, "a.jpg"), (2, "a.png"), (4, "a.webp")])
def test_one_photo_re_encoded_or_scaled(tmp_path: Path, seed: int, scale: int, name: str) -> None:
    image = meter(seed)
    before = look(image, tmp_path / "before.jpg", quality=95)
    smaller = image.resize((image.width // scale, image.height // scale), Image.Resampling.LANCZOS)
    after = look(smaller, tmp_path / name, **({} if name.endswith("png") else {"quality": 60}))
    assert distance(before, after) <= LIMIT == 24


def test_different_meters_are_far_apart(tmp_path: Path) -> None:
    looks = [look(meter(seed), tmp_path / f"{seed}.jpg") for seed in range(10)]
    assert min(distance(one, other) for one, other in itertools.combinations(looks, 2)) > LIMIT


@pytest.mark.parametrize(
    ("orientation", "method"),
    [
        (3, Image.Transpose.ROTATE_180),
        (6, Image.Transpose.ROTATE_90),
        (8, Image.Transpose.ROTATE_270),
    ],
)
def test_a_file_turned_by_exif_looks_like_the_upright_one(
    tmp_path: Path, orientation: int, method: Image.Transpose
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    turned = meter(1).transpose(method)
    assert look(turned, tmp_path / "a.png", exif=exif) == look(meter(1), tmp_path / "b.png")
    jpegs = look(turned, tmp_path / "a.jpg", exif=exif), look(meter(1), tmp_path / "b.jpg")
    assert distance(*jpegs) <= LIMIT


def test_the_checks_of_every_photo_hold(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    meter(0).save(path)
    with pytest.raises(ImageTooLargeError):
        look_of(path, max_megapixels=0.1)
    path.write_text("not an image")
    with pytest.raises(NotAnImageError):
        look_of(path)
