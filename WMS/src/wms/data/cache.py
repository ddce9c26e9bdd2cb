"""Decoded pairs on disk, keyed by content: a photo is decoded and resized once, not in every epoch.

An entry is a .npy file of shape (4, S, S) uint8: red, green, blue, and the mask's share of the pixel. The file name
holds the hashes of both files and every setting that decides the pixels, so an entry never goes stale; a damaged entry
is written again.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wms.config import DataConfig
from wms.data.images import resize_image
from wms.data.masks import resize_mask
from wms.data.pairs import Pair, Sample, read_pair
from wms.files import write_atomic

FORMAT = 3
"""Raised when the preparation of an entry changes."""


def load_prepared(sample: Sample, *, size: int, config: DataConfig) -> NDArray[np.uint8]:
    """A pair as (4, size, size) uint8, from the cache, or else decoded and added to the cache.

    Raises the errors of `read_pair`, and DiskFullError or UnwritableError for the cache folder.
    """
    if not config.cache:
        return _prepare(sample.pair, size, config)
    name = f"{sample.image_sha256[:32]}_{sample.mask_sha256[:32]}_{size}_v{FORMAT}.npy"
    entry = config.cache_folder / name[:2] / name
    cached = _read(entry, size)
    if cached is None:
        cached = _prepare(sample.pair, size, config)
        stream = io.BytesIO()
        np.save(stream, cached)
        write_atomic(entry, stream.getvalue())
    return cached


def _prepare(pair: Pair, size: int, config: DataConfig) -> NDArray[np.uint8]:
    image, mask = read_pair(pair, config)
    pixels = resize_image(image, size).transpose(2, 0, 1)  # (3, S, S)
    return np.ascontiguousarray(np.concatenate([pixels, resize_mask(mask, size)[None]]))


def _read(entry: Path, size: int) -> NDArray[np.uint8] | None:
    try:
        array = np.load(entry, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    valid = isinstance(array, np.ndarray) and array.shape == (4, size, size) and array.dtype == np.uint8
    return array if valid else None
