"""The one place that decodes photos and masks.

Everything else (QA, training, prediction, serving) gets upright arrays from here, so that a photo means the
same pixels everywhere. A file's header is checked before its pixels are touched: type by content, then size.
"""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from wms.errors import (
    DataNotFoundError,
    GreyMaskError,
    ImageTooLargeError,
    NotAnImageError,
    TruncatedImageError,
)

# We refuse by size ourselves, before decoding and with a sentence; Pillow's own limit only warns at first.
Image.MAX_IMAGE_PIXELS = None

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
"""File names that count as images, in lower case."""

FORMATS: Final = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")
"""Formats that are decoded; what a file really is decides, not its name. JPEG includes MPO."""

DEFAULT_MEGAPIXELS: Final = 50.0
MASK_THRESHOLD: Final = 127
"""A mask's pixel is strip if its value is larger than this."""

ORIENTATION_TAG: Final = 0x0112

_GREY_LOW, _GREY_HIGH = 64, 191
# The first bytes of what is an image for sure; a file that begins so and can't be opened is damaged.
_SIGNATURES: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\x00", b"MM\x00*")
# What Pillow's decoders raise on damaged bytes.
_DAMAGE: Final = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    OverflowError,
    struct.error,
)


def read_image(path: Path, *, max_megapixels: float = DEFAULT_MEGAPIXELS) -> NDArray[np.uint8]:
    """Decode a photo: upright, RGB, uint8, shape (height, width, 3).

    Any mode is converted: grey, palette, CMYK, 16-bit (scaled to 8), alpha (laid on black).
    Raises DataNotFoundError, NotAnImageError, TruncatedImageError or ImageTooLargeError, each naming `path`.
    """
    return decode_image(_read_bytes(path), str(path), max_megapixels=max_megapixels)


def decode_image(content: bytes, name: str, *, max_megapixels: float = DEFAULT_MEGAPIXELS) -> NDArray[np.uint8]:
    """As `read_image`, for a file's bytes; `name` is what errors call it."""
    return np.asarray(_decode(content, name, max_megapixels))


def read_small(path: Path, side: int = 128, max_megapixels: float = DEFAULT_MEGAPIXELS) -> NDArray[np.uint8]:
    """Decode a photo as `read_image` does, but small and fast: for looking at it, never for training.

    Returns the smallest whole fraction of the photo, upright RGB (height, width, 3), of which no side is
    shorter than `side` pixels; a smaller photo keeps its size. Raises the errors of `read_image`.
    """
    image = _decode(_read_bytes(path), str(path), max_megapixels, draft_side=side)
    return np.asarray(image.reduce(max(1, min(image.size) // side)))


def read_mask(
    path: Path, *, max_megapixels: float = DEFAULT_MEGAPIXELS, max_grey_fraction: float = 0.01
) -> NDArray[np.uint8]:
    """Decode a mask: upright, uint8, shape (height, width), every value 0 or 255.

    The soft edges that JPEG leaves are cut at 127. A mask in which more than `max_grey_fraction` of all
    pixels lie between black and white (64..191) isn't a mask: GreyMaskError. Other errors as `read_image`.
    """
    grey = np.asarray(_decode(_read_bytes(path), str(path), max_megapixels).convert("L"))
    share = float(np.mean((grey >= _GREY_LOW) & (grey <= _GREY_HIGH)))
    if share > max_grey_fraction:
        raise GreyMaskError(
            f"{path} isn't a black-and-white mask: {share:.1%} of its pixels are grey "
            f"(at most {max_grey_fraction:.1%} may be); paint the strip white and all else black."
        )
    return np.where(grey > MASK_THRESHOLD, np.uint8(255), np.uint8(0))


def image_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels after the EXIF orientation, read from the header alone.

    Only a PNG whose orientation follows its pixels has to be decoded. Raises the errors of `read_image`.
    """
    content = _read_bytes(path)
    with _open(io.BytesIO(content), str(path)) as image:
        width, height = image.size
        if image.format == "TIFF":  # Pillow has swapped the sides already
            return width, height
        if image.format == "PNG" and _has_late_exif(content):
            upright = decode_image(content, str(path))
            return upright.shape[1], upright.shape[0]
        try:
            # PNG's own getexif() decodes all pixels in search of a late orientation.
            orientation = Image.Image.getexif(image).get(ORIENTATION_TAG, 1)
        except _DAMAGE as error:
            raise TruncatedImageError(f"{path} is damaged: its EXIF data can't be read ({error}).") from error
    return (height, width) if orientation in (5, 6, 7, 8) else (width, height)


def resize_image(
    image: NDArray[np.uint8], size: int, *, window: tuple[float, float, float, float] | None = None
) -> NDArray[np.uint8]:
    """Resize (H, W, 3), or a window of it, to (size, size, 3) with antialiasing; the aspect ratio isn't kept.

    This is the preprocessing that training, the gate and the service share.
    """
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR, box=window))


def resize_mask(mask: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize (H, W) to (size, size) by area: values between 0 and 255 are the strip's share of a pixel."""
    return np.asarray(Image.fromarray(mask).resize((size, size), Image.Resampling.BOX))


def to_input(
    image: NDArray[np.uint8], size: int, *, window: tuple[float, float, float, float] | None = None
) -> NDArray[np.float32]:
    """A photo, or a `window` (left, top, right, bottom in pixels) of it, as input: (1, 3, size, size) in 0..1."""
    pixels = resize_image(image, size, window=window).astype(np.float32) / 255.0
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataNotFoundError(f"Can't read {path}: {error.strerror}.") from error


def _open(stream: io.BytesIO, name: str) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata is the next step's business
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


def _decode(content: bytes, name: str, max_megapixels: float, *, draft_side: int | None = None) -> Image.Image:
    """Upright RGB; with `draft_side` a JPEG is decoded at the smallest scale with sides of at least that."""
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
                return _to_rgb(ImageOps.exif_transpose(image))
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
