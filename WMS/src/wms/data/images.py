"""Decodes photos; no other module does, and `wms.data.masks` decodes masks by this one.

QA, training, prediction and serving get upright arrays from this module, so that a photo means the same pixels
everywhere. A file's header is checked before the pixels are decoded: type by content, then size.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from wms.errors import (
    DataNotFoundError,
    ImageTooLargeError,
    NotAnImageError,
    TruncatedImageError,
)
from wms.regular import read_regular

# We refuse by size ourselves, before decoding and with a sentence; Pillow's own limit only warns at first.
Image.MAX_IMAGE_PIXELS = None

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
"""File names that count as images, in lower case."""

FORMATS: Final = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")
"""Formats that are decoded; a file's content decides, not the name. JPEG includes MPO."""

DEFAULT_MEGAPIXELS: Final = 50.0
ORIENTATION_TAG: Final = 0x0112

# How the stored pixels of each EXIF orientation are turned upright.
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# The first bytes of image formats; a file that begins so and can't be opened is damaged.
_SIGNATURES: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\x00", b"MM\x00*")
# The errors that Pillow's decoders raise on damaged bytes.
_DAMAGE: Final = (OSError, ValueError, SyntaxError, EOFError, IndexError, OverflowError, struct.error)


def read_image(path: Path, *, max_megapixels: float = DEFAULT_MEGAPIXELS) -> NDArray[np.uint8]:
    """Decode a photo: upright, RGB, uint8, shape (height, width, 3).

    Any mode is converted: grey, palette, CMYK, 16-bit (scaled to 8), alpha (laid on black).
    Raises DataNotFoundError, NotAnImageError, TruncatedImageError or ImageTooLargeError, each naming `path`.
    """
    return decode_image(read_bytes(path), str(path), max_megapixels=max_megapixels)


def decode_image(content: bytes, name: str, *, max_megapixels: float = DEFAULT_MEGAPIXELS) -> NDArray[np.uint8]:
    """As `read_image`, for a file's bytes; errors call the file `name`."""
    return np.asarray(decode(content, name, max_megapixels))


def read_small(path: Path, side: int = 128, max_megapixels: float = DEFAULT_MEGAPIXELS) -> NDArray[np.uint8]:
    """Decode a photo as `read_image` does, but small and fast: for display, never for training.

    Returns the smallest whole fraction of the photo, upright RGB (height, width, 3), of which no side is
    shorter than `side` pixels; a smaller photo keeps its size. Raises the errors of `read_image`.
    """
    image = decode(read_bytes(path), str(path), max_megapixels, draft_side=side)
    return np.asarray(image.reduce(max(1, min(image.size) // side)))


def image_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels after the EXIF orientation, read from the header alone.

    Only a PNG whose orientation follows its pixels has to be decoded. Raises the errors of `read_image`.
    """
    content = read_bytes(path)
    with _open(io.BytesIO(content), str(path)) as image:
        width, height = image.size
        if image.format == "TIFF":  # Pillow has swapped the sides already
            return width, height
        if image.format == "PNG" and _has_late_exif(content):
            upright = decode_image(content, str(path))
            return upright.shape[1], upright.shape[0]
        # PNG's own getexif() decodes all pixels in search of a late orientation.
        orientation = orientation_of(image, Image.Image.getexif)
    return (height, width) if orientation >= 5 else (width, height)


def orientation_of(image: Image.Image, read: Callable[[Image.Image], Image.Exif] = lambda one: one.getexif()) -> int:
    """The EXIF orientation of an opened image, 1..8; 1 for an absent or unreadable orientation.

    Cameras and programs write odd EXIF data, so only the orientation is read and no other field can stop the reading.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = read(image).get(ORIENTATION_TAG, 1)
    except Exception:  # Pillow raises many kinds of errors on odd EXIF bytes
        return 1
    return next((known for known in _UPRIGHT if known == value), 1)


def resize_image(
    image: NDArray[np.uint8], size: int, *, window: tuple[float, float, float, float] | None = None
) -> NDArray[np.uint8]:
    """Resize (H, W, 3), or a window, to (size, size, 3) with antialiasing; the aspect ratio isn't kept.

    This is the preprocessing that training, the gate and the service share.
    """
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR, box=window))


def to_input(
    image: NDArray[np.uint8], size: int, *, window: tuple[float, float, float, float] | None = None
) -> NDArray[np.float32]:
    """A photo, or a `window` (left, top, right, bottom in pixels), as network input: (1, 3, size, size) in 0..1."""
    pixels = resize_image(image, size, window=window).astype(np.float32) / 255.0
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def read_bytes(path: Path) -> bytes:
    try:
        return read_regular(path)
    except OSError as error:
        raise DataNotFoundError(f"Can't read {path}: {error.strerror}.") from error


def _open(stream: io.BytesIO, name: str) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # orientation_of handles odd metadata
            return Image.open(stream, formats=FORMATS)
    except UnidentifiedImageError as error:
        if not stream.getvalue():
            raise TruncatedImageError(f"{name} is empty (0 bytes); copy it again from the camera.") from error
        if stream.getvalue().startswith(_SIGNATURES):
            raise TruncatedImageError(f"{name} is cut off or damaged; copy it again from the camera.") from error
        raise NotAnImageError(
            f"{name} isn't an image that can be read ({', '.join(FORMATS)}), whatever its name says; remove it."
        ) from error
    except _DAMAGE as error:
        raise TruncatedImageError(f"{name} is damaged: its header can't be read ({error}).") from error


def decode(
    content: bytes,
    name: str,
    max_megapixels: float,
    *,
    draft_side: int | None = None,
    look: Callable[[Image.Image], None] = lambda _: None,
) -> Image.Image:
    """Upright RGB; `look` gets the image as stored, with decoded pixels.

    With `draft_side` a JPEG is decoded at the smallest scale with sides of at least that.
    """
    with _open(io.BytesIO(content), name) as image:
        width, height = image.size
        if width * height > max_megapixels * 1e6:
            raise ImageTooLargeError(
                f"{name} announces {width} x {height} pixels, more than the {max_megapixels:g} megapixels "
                "allowed; scale it down, or raise data.max_megapixels."
            )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if draft_side:
                    image.draft(None, (draft_side, draft_side))
                image.load()
                look(image)
                picture, turn = _to_rgb(image), _UPRIGHT.get(orientation_of(image))
                return picture if turn is None else picture.transpose(turn)
        except _DAMAGE as error:
            raise TruncatedImageError(
                f"{name} is cut off or damaged ({str(error).rstrip('.')}); copy it again from the camera."
            ) from error


def _has_late_exif(content: bytes) -> bool:
    """Whether a PNG may hold an orientation behind its pixels."""
    late = content.partition(b"IDAT")[2]
    return any(mark in late for mark in (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp"))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        # 16-bit files fill 0..65535; a 32-bit container of small numbers keeps its 8-bit scale.
        scale = 257.0 if image.mode.startswith("I;16") or values.max(initial=0) > 255 else 1.0
        image = Image.fromarray(np.clip(values / scale, 0, 255).round().astype(np.uint8))
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
    return image.convert("RGB")
