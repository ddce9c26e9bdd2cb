"""Decodes photos; no other module does, and `wms.data.masks` decodes masks by this one.

QA, training, prediction and serving get upright arrays from this module, so that a photo means the same pixels
everywhere. A file's header is checked before the pixels are decoded: type by content, then size.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, features

from wms.data.bare import ORIENTATION_TAG, bare
from wms.data.guard import TimedBytes, check_scans, check_size
from wms.data.kinds import CONVERT_HEIC, FORMATS, LFS_ADVICE, LFS_POINTER, kind_of
from wms.errors import DataNotFoundError, ImageTooLargeError, NotAnImageError, TruncatedImageError, WmsError
from wms.regular import read_regular

# We refuse by size ourselves, before decoding and with a sentence; Pillow's own limit only warns at first.
Image.MAX_IMAGE_PIXELS = None

DEFAULT_MEGAPIXELS: Final = 50.0

_BAND: Final = 256  # rows

UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How the stored pixels of each EXIF orientation are turned upright."""


def read_image(path: Path, *, max_megapixels: float = DEFAULT_MEGAPIXELS) -> NDArray[np.uint8]:
    """Decode a photo: upright, RGB, uint8, shape (height, width, 3).

    Any mode is converted: grey, palette, CMYK, 16-bit (scaled to 8), alpha (laid on black).
    Raises DataNotFoundError, NotAnImageError, TruncatedImageError or ImageTooLargeError, each naming `path`.
    """
    return decode_image(read_bytes(path), str(path), max_megapixels=max_megapixels)


def decode_image(content: bytes, name: str, *, max_megapixels: float = DEFAULT_MEGAPIXELS) -> NDArray[np.uint8]:
    """As `read_image`, for a file's bytes; errors call the file `name`."""
    return as_array(decode(content, name, max_megapixels))


def as_array(image: Image.Image) -> NDArray[Any]:
    """A picture's pixels as an array of its own, made in bands: np.asarray alone takes thrice its memory meanwhile."""
    first = np.asarray(image.crop((0, 0, 1, 1)))
    pixels = np.empty((image.height, image.width, *first.shape[2:]), first.dtype)
    for top, band in bands(image):
        pixels[top : top + band.height] = np.asarray(band)
    return pixels


def bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """A picture's rows in copies of _BAND rows, each with the number of its first row."""
    for top in range(0, image.height, _BAND):
        yield top, image.crop((0, top, image.width, min(top + _BAND, image.height)))


def read_small(path: Path, side: int = 128, max_megapixels: float = DEFAULT_MEGAPIXELS) -> NDArray[np.uint8]:
    """Decode a photo as `read_image` does, but small and fast: for display, never for training.

    Returns the smallest whole fraction of the photo, upright RGB (height, width, 3), of which no side is
    shorter than `side` pixels; a smaller photo keeps its size. Raises the errors of `read_image`.
    """
    image = decode(read_bytes(path), str(path), max_megapixels, draft_side=side)
    return np.asarray(image.reduce(max(1, min(image.size) // side)))


def image_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels after the orientation, from the header alone. Raises the errors of `read_image`."""
    width, height, orientation = stored_size(read_bytes(path), str(path))
    return (height, width) if orientation >= 5 else (width, height)


def orientation_of(path: Path) -> int:
    """The orientation of a photo's stored pixels, 1..8; 1 if none is known. Raises the errors of `read_image`."""
    return orientation_in(read_bytes(path), str(path))


def stored_size(content: bytes, name: str) -> tuple[int, int, int]:
    """Width and height in pixels as stored, and the orientation (1..8). Raises the errors of `read_image`."""
    with _open(content, name, float("inf")) as opened:
        return (*opened.image.size, opened.orientation)


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture's header announces: one of `wms.data.kinds.FORMATS`, and its sides in pixels as stored."""

    kind: str
    width: int
    height: int


def header_of(content: bytes, name: str, max_megapixels: float = DEFAULT_MEGAPIXELS) -> Header:
    """Read the header alone, and refuse by it what `decode_image` refuses by it; errors call the file `name`."""
    with _open(content, name, max_megapixels) as opened:
        check_size(name, *opened.image.size, max_megapixels)
        return Header(str(opened.image.format), *opened.image.size)


def turned_upright(image: Image.Image, orientation: int) -> Image.Image:
    """An image with pixels as stored, turned as the orientation (1..8) tells."""
    turn = UPRIGHT.get(orientation)
    return image if turn is None else image.transpose(turn)


def orientation_in(content: bytes, name: str = "The photo") -> int:
    """As `orientation_of`, for a file's bytes; errors call the file `name`."""
    with _open(content, name, float("inf")) as opened:
        return opened.orientation


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


@dataclass(frozen=True, slots=True)
class _Opened:
    """A picture whose pixels aren't decoded yet, without metadata, and the orientation of its stored pixels."""

    image: Image.Image
    orientation: int


@contextmanager
def _open(content: bytes, name: str, max_megapixels: float) -> Iterator[_Opened]:
    """Open a picture, whose size and cost aren't checked yet."""
    picture = bare(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(TimedBytes(picture.content, name, max_megapixels), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise _unidentified(content, name) from error
    except WmsError:
        raise
    except MemoryError as error:
        raise _too_much(name) from error
    except Exception as error:  # Pillow raises many kinds of errors on damaged bytes
        raise TruncatedImageError(f"{name} is damaged: its header can't be read ({error}).") from error
    with image:
        # The properties that turn an AVIF become EXIF data in Pillow's hands.
        turned = image.getexif().get(ORIENTATION_TAG, 1) if image.format == "AVIF" else picture.orientation
        yield _Opened(image, turned)


def _unidentified(content: bytes, name: str) -> WmsError:
    kind = kind_of(content)
    if not content:
        return TruncatedImageError(f"{name} is empty (0 bytes); copy it again from the camera.")
    if kind == "HEIC":
        return NotAnImageError(f"{name} is a HEIC photo, whatever its name says; {CONVERT_HEIC}.")
    if kind == "AVIF" and not features.check("avif"):
        return NotAnImageError(f"{name} is an AVIF photo, which needs Pillow 11.3 or newer; run `make install`.")
    if kind in FORMATS:
        return TruncatedImageError(f"{name} is cut off or damaged; copy it again from the camera.")
    if content.startswith(LFS_POINTER):
        return NotAnImageError(f"{name} {LFS_ADVICE}.")
    return NotAnImageError(
        f"{name} isn't an image that can be read ({', '.join(FORMATS)}), whatever its name says; remove it."
    )


def _too_much(name: str) -> WmsError:
    return ImageTooLargeError(f"{name} needs more memory than is free; scale it down.")


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
    with _open(content, name, max_megapixels) as opened:
        image = opened.image
        check_size(name, *image.size, max_megapixels)
        if image.format == "JPEG":
            check_scans(name, content, *image.size)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if draft_side:
                    image.draft(None, (draft_side, draft_side))
                image.load()
                look(image)
                return turned_upright(to_rgb(image), opened.orientation)
        except WmsError:
            raise
        except MemoryError as error:
            raise _too_much(name) from error
        except Exception as error:  # Pillow raises many kinds of errors on damaged bytes
            raise TruncatedImageError(
                f"{name} is cut off or damaged ({str(error).rstrip('.')}); copy it again from the camera."
            ) from error


def to_rgb(image: Image.Image) -> Image.Image:
    """A decoded picture of any mode as RGB: 16 bits scaled to 8, transparent pixels laid on black.

    The conversion goes band by band, so that it takes no more than the result's memory.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    scale = _scale(image)
    whole = Image.new("RGB", image.size)
    for top, band in bands(image):
        whole.paste(_band_to_rgb(band, scale), (0, top))
    return whole


def _scale(image: Image.Image) -> float:
    """The number that maps a picture's values to 8 bits: 16-bit files fill 0..65535."""
    if image.mode.startswith("I;16"):
        return 257.0
    # A 32-bit container of small numbers keeps its 8-bit scale.
    is_wide = image.mode in ("I", "F") and np.max([np.asarray(band).max(initial=0) for _, band in bands(image)]) > 255
    return 257.0 if is_wide else 1.0


def _band_to_rgb(image: Image.Image, scale: float) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        image = Image.fromarray(np.clip(values / scale, 0, 255).round().astype(np.uint8))
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
    return image.convert("RGB")
