"""Odd EXIF data stops nothing: the orientation alone is read, and what can't be read counts as upright."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from PIL import Image
from qa_data import codes
from small import photos

from wms.data.images import image_size, read_image, read_small
from wms.data.qa import validate_data
from wms.data.qa.cli import COMMAND as data_qa

Entry = tuple[int, int, int, bytes]  # tag, type, count, value

ORIENTATION: Final[Entry] = (0x0112, 3, 1, struct.pack("<H", 6))
ODD: Final[dict[str, Entry]] = {
    "a RATIONAL in DateTime": (0x0132, 5, 1, struct.pack("<II", 1, 0)),
    "a FLOAT in ExifVersion": (0x9000, 11, 1, struct.pack("<f", 2.3)),
    "a negative width": (0x0100, 9, 1, struct.pack("<i", -5)),
    "a negative pixel width": (0xA002, 9, 1, struct.pack("<i", -5)),
    "a text beyond the end": (0x010F, 2, 0x7FFFFFFF, b"\0\0\0\0"),
    "an EXIF folder that holds itself": (0x8769, 4, 1, struct.pack("<I", 8)),
    "a text where GPS is": (0x8825, 2, 4, b"abcd"),
    "an unknown type": (0x010E, 99, 1, b"abcd"),
}


def exif_block(*entries: Entry) -> bytes:
    """An EXIF block, little-endian, with these entries in the order given."""
    head = b"II*\0" + struct.pack("<I", 8)
    end = len(head) + 2 + 12 * len(entries) + 4
    folder, body = struct.pack("<H", len(entries)), b""
    for tag, kind, count, value in entries:
        place = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack("<I", end + len(body))
        body += value if len(value) > 4 else b""
        folder += struct.pack("<HHI", tag, kind, count) + place
    return b"Exif\0\0" + head + folder + struct.pack("<I", 0) + body


def store(path: Path, *entries: Entry, size: tuple[int, int] = (48, 32)) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, exif=exif_block(*entries))
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("odd", ODD)
def test_odd_metadata_beside_an_orientation(tmp_path: Path, odd: str, suffix: str) -> None:
    path = store(tmp_path / f"odd{suffix}", ORIENTATION, ODD[odd])
    assert read_image(path).shape == (48, 32, 3), "turned upright"
    assert image_size(path) == (32, 48)
    assert read_small(path, side=16).shape == (24, 16, 3)


@pytest.mark.parametrize(
    "value", [(0x0112, 2, 2, b"6\0"), (0x0112, 7, 1, b"\6"), (0x0112, 3, 1, struct.pack("<H", 99))]
)
def test_an_orientation_that_means_nothing_is_upright(tmp_path: Path, value: Entry) -> None:
    path = store(tmp_path / "odd.jpg", value)
    assert read_image(path).shape == (32, 48, 3)
    assert image_size(path) == (48, 32)


@pytest.mark.parametrize("odd", ODD)
def test_the_data_check_and_its_fix_let_such_a_photo_pass(tmp_path: Path, odd: str) -> None:
    folder = photos(tmp_path, 2)
    path = sorted((folder / "images").iterdir())[0]
    upright = Image.fromarray(read_image(path))
    upright.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif_block(ORIENTATION, ODD[odd]))
    before = read_image(path)
    cache = tmp_path / "cache"
    report = validate_data(folder, cache_folder=cache, workers=1)
    assert not codes(report, "error") & {"damaged", "unreadable"}, report["errors"]
    data_qa([str(folder), "--fix", "--cache", str(cache), "--workers", "1"])
    np.testing.assert_allclose(read_image(path).astype(float), before.astype(float), atol=8)


def test_a_photo_with_odd_metadata_is_what_the_same_photo_without_is(tmp_path: Path) -> None:
    odd = store(tmp_path / "odd.png", ORIENTATION, *ODD.values())
    plain = io.BytesIO()
    with Image.open(odd) as image:
        image.load()
        Image.fromarray(np.asarray(image)).transpose(Image.Transpose.ROTATE_270).save(plain, "PNG")
    np.testing.assert_array_equal(read_image(odd), np.asarray(Image.open(plain)))
