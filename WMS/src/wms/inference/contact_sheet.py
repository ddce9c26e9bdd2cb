"""Joins several pictures into a single sheet, to judge predictions at a glance."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from wms.files import write_atomic

COLUMNS = 3


def contact_sheet(pictures: Sequence[Path], path: Path, side: int = 320) -> Path:
    """Write the pictures, three in a row, each at most `side` pixels, to a PNG file at `path`; returns `path`.

    Raises DiskFullError, UnwritableError.
    """
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * side, rows * side), "white")
    for index, name in enumerate(pictures):
        with Image.open(name) as image:
            image.thumbnail((side, side))
            left = index % COLUMNS * side + (side - image.width) // 2
            top = index // COLUMNS * side + (side - image.height) // 2
            sheet.paste(image, (left, top))
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    write_atomic(path, stream.getvalue())
    return path
