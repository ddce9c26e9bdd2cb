"""The perceptual hash of a photo, 256 bits that survive re-encoding and scaling: see `wms.data.splits`."""

from __future__ import annotations

from pathlib import Path

import imagehash
from PIL import Image

from wms.data.images import DEFAULT_MEGAPIXELS, read_small

HASH_SIDE = 16
"""The hash keeps 16 x 16 of the lowest frequencies, a bit each."""


def perceptual_hash(path: Path, *, max_megapixels: float = DEFAULT_MEGAPIXELS) -> str:
    """The perceptual hash of the upright photo at `path`: 64 hexadecimal digits.

    The Hamming distance of two hashes, in bits of 256, tells how different two photos look; equal photos
    stored in different ways are a few bits apart. The cosine-transform hash of the imagehash package.
    Raises the errors of `wms.data.images.read_image`.
    """
    image = Image.fromarray(read_small(path, max_megapixels=max_megapixels))
    return str(imagehash.phash(image, hash_size=HASH_SIDE))
