"""The look of a photo: two small descriptions by which near-duplicates are found, see `wms.data.alike`.

The perceptual hash, 256 bits, survives re-encoding and scaling. The sketch, 24 x 24 grey values, survives what differs
between the shots of a burst, too: see `wms.data.overlay`. A look is one text, the hash's 64 hexadecimal digits followed
by the sketch in base64; looks that were recorded before there were sketches are the hash alone.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Final

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wms.data.images import DEFAULT_MEGAPIXELS, read_small
from wms.data.overlay import SKETCH_DIGITS, sketch

HASH_SIDE = 16
"""The hash keeps 16 x 16 of the lowest frequencies, a bit each."""

HASH_DIGITS: Final = HASH_SIDE * HASH_SIDE // 4


def look_of(path: Path, *, max_megapixels: float = DEFAULT_MEGAPIXELS) -> str:
    """The look of the upright photo at `path`: perceptual hash and sketch, 448 characters.

    The Hamming distance of two hashes, in bits of 256, tells how different two photos are; equal photos stored in
    different ways are a few bits apart. The cosine-transform hash of the imagehash package. Raises the errors of
    `wms.data.images.read_image`.
    """
    return look_at(read_small(path, max_megapixels=max_megapixels))


def look_at(small: NDArray[np.uint8]) -> str:
    """The look of an upright photo (H, W, 3), of which no side need be longer than 255 pixels."""
    return str(imagehash.phash(Image.fromarray(small), hash_size=HASH_SIDE)) + sketch(small)


def parts(look: str) -> tuple[str, str]:
    """The hash and the sketch of a look; "" for a sketch that isn't known."""
    return look[:HASH_DIGITS], look[HASH_DIGITS:]


def is_look(text: object) -> bool:
    """Whether `text` is a whole look, with or without a sketch."""
    if not isinstance(text, str) or len(text) not in (HASH_DIGITS, HASH_DIGITS + SKETCH_DIGITS):
        return False
    try:
        return len(bytes.fromhex(text[:HASH_DIGITS])) == HASH_DIGITS // 2 and bool(
            base64.b64decode(text[HASH_DIGITS:], validate=True) or len(text) == HASH_DIGITS
        )
    except (ValueError, binascii.Error):
        return False
