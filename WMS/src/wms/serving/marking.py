"""From an uploaded file to a mask: the work of a request, done in a thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from PIL import Image

from wms.data.images import decode_image, header_of
from wms.data.masks import black_white
from wms.inference.predictor import Predictor, mask_file

_PIXEL_BYTES: Final = {"AVIF": 28, "WEBP": 20}
_OTHER_PIXEL_BYTES: Final = 16
"""Bytes of memory for a pixel: `make prove-service ARGS="--parts memory"` measures 12 to 14, and 18 for WebP.

AVIF has up to 12 bits a colour, and decoders that hold parts and the whole at once.
"""

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Marked:
    """The strip on a photo.

    `png` is the mask: mode L, every pixel 0 or 255, `width` x `height` pixels as the upright photo. `share` is the
    strip's part of all pixels. `box` is left, top, right, bottom in pixels, the latter two exclusive; None
    without any strip.
    """

    png: bytes
    width: int
    height: int
    share: float
    box: Box | None


def memory_of(content: bytes, *, max_megapixels: float) -> int:
    """The bytes of memory that `mark` takes at most for a photo, by its header.

    Raises NotAnImageError, TruncatedImageError or ImageTooLargeError, as `mark` would.
    """
    header = header_of(content, "The photo", max_megapixels)
    # The file, and the copy without metadata that is decoded.
    return header.width * header.height * _PIXEL_BYTES.get(header.kind, _OTHER_PIXEL_BYTES) + 2 * len(content)


def mark(predictor: Predictor, content: bytes, *, max_megapixels: float) -> Marked:
    """Find the strip on the photo in a file's bytes; the pixels equal those of `wms predict`.

    Raises TruncatedImageError, NotAnImageError or ImageTooLargeError.
    """
    mask = predictor.predict(decode_image(content, "The photo", max_megapixels=max_megapixels))
    picture = Image.fromarray(black_white(mask))
    return Marked(mask_file(mask), *picture.size, share=float(mask.mean()), box=picture.getbbox())
