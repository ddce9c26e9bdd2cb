"""Joins several pictures into a single sheet, to judge predictions at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from wms.files import write_atomic
from wms.pictures import encoded

COLUMNS, SIDE = 3, 320


def contact_sheet(pictures: Sequence[Path], path: Path) -> Path:
    """Write the pictures, three in a row, each at most SIDE pixels, to a PNG file at `path`; returns `path`.

    Raises DiskFullError, UnwritableError.
    """
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * SIDE, rows * SIDE), "white")
    for index, name in enumerate(pictures):
        with Image.open(name) as image:
            image.thumbnail((SIDE, SIDE))
            left = index % COLUMNS * SIDE + (SIDE - image.width) // 2
            top = index // COLUMNS * SIDE + (SIDE - image.height) // 2
            sheet.paste(image, (left, top))
    write_atomic(path, encoded(sheet, "PNG"))
    return path
