"""A preprocessing of a later day: the photo keeps its proportions in a grey margin, and its values are centred."""

from __future__ import annotations

import numpy as np
from PIL import Image

from wms.data.images import resize_image
from wms.data.preprocessing import Floats, Photo, Preprocessing, Window

NEXT_NAME = "letterbox-rgb-lanczos-2"


def _frame(height: float, width: float, side: int) -> tuple[int, int, int, int]:
    """Left, top, width and height in pixels of a picture inside a square of `side`."""
    scale = side / max(height, width)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    return (side - inner[0]) // 2, (side - inner[1]) // 2, *inner


def _to_input(photo: Photo, size: int, window: Window | None) -> Floats:
    left, top, right, bottom = window or (0, 0, photo.shape[1], photo.shape[0])
    x, y, width, height = _frame(bottom - top, right - left, size)
    inner = Image.fromarray(photo).resize((width, height), Image.Resampling.LANCZOS, box=(left, top, right, bottom))
    square = Image.new("RGB", (size, size), (128, 128, 128))
    square.paste(inner, (x, y))
    values = np.asarray(square, dtype=np.float32) / 255 * np.float32(0.7) + np.float32(0.1)
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None])


def _restore(logits: Floats, height: float, width: float) -> Floats:
    x, y, inner_width, inner_height = _frame(height, width, len(logits))
    box = (x, y, x + inner_width, y + inner_height)
    square = Image.fromarray(logits).resize(logits.shape[::-1], Image.Resampling.BILINEAR, box=box)
    return np.asarray(square, dtype=np.float32)


NEXT = Preprocessing(resize_image, _to_input, _restore)
