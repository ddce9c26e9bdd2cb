"""Reads a person's own HEIC photo, what iPhones write, in a process of its own; the service never does.

Decoders of HEIC had holes through which a photo ran code. So a decoder is used only where a user has installed the
group `heic`, in a version without these holes, and it decodes in a process that can open no file and no connection.
"""

from __future__ import annotations

import struct
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wms.data import heic_child
from wms.data.guard import MOST_SIDE, check_size
from wms.data.images import DEFAULT_MEGAPIXELS, decode_image, read_bytes, to_rgb
from wms.data.kinds import CONVERT_HEIC, HEAD_BYTES, kind_of
from wms.errors import ImageTooLargeError, NotAnImageError, TruncatedImageError, WmsError
from wms.pictures import encoded

_WALL_SECONDS: Final = 120.0
_HEADER: Final = struct.Struct("<II4s")


def can_read_heic() -> bool:
    """Whether the optional group `heic` is installed; its version is checked when a photo is read."""
    return find_spec("pi_heif") is not None


def read_own_photo(path: Path, *, max_megapixels: float = DEFAULT_MEGAPIXELS) -> NDArray[np.uint8]:
    """As `wms.data.images.read_image`, for a photo of the user's own, which may also be HEIC whatever its name says."""
    content = read_bytes(path)
    if kind_of(content[:HEAD_BYTES]) == "HEIC":
        return decode_heic(content, str(path), max_megapixels=max_megapixels)
    return decode_image(content, str(path), max_megapixels=max_megapixels)


def decode_heic(content: bytes, name: str, *, max_megapixels: float = DEFAULT_MEGAPIXELS) -> NDArray[np.uint8]:
    """Decode a HEIC file's bytes: upright, RGB, uint8, shape (height, width, 3); errors call the file `name`.

    Raises NotAnImageError without a decoder or with one that has known holes, TruncatedImageError, ImageTooLargeError.
    """
    if not can_read_heic():
        raise NotAnImageError(
            f"{name} is a HEIC photo; {CONVERT_HEIC}; or let `make install FOR=heic` add a decoder for your own photos."
        )
    command = [sys.executable, "-I", heic_child.__file__, str(max_megapixels * 1e6), str(MOST_SIDE)]
    # The user's environment may hold keys; Windows starts no process without some of it.
    environment = None if sys.platform == "win32" else dict[str, str]()
    try:
        done = subprocess.run(
            command, input=content, capture_output=True, timeout=_WALL_SECONDS, env=environment, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ImageTooLargeError(
            f"{name} takes more than {_WALL_SECONDS:g} seconds to decode; {CONVERT_HEIC}."
        ) from error
    if done.returncode != 0:
        raise _failure(done, name, max_megapixels)
    return _pixels(done.stdout, name, max_megapixels)


def jpeg_of_heic(content: bytes, name: str, *, max_megapixels: float = DEFAULT_MEGAPIXELS) -> bytes:
    """A HEIC photo as the bytes of an upright JPEG of quality 95 without EXIF data. Raises as `decode_heic`."""
    pixels = decode_heic(content, name, max_megapixels=max_megapixels)
    return encoded(Image.fromarray(pixels), "JPEG", quality=95, subsampling=0)


def _pixels(answer: bytes, name: str, max_megapixels: float) -> NDArray[np.uint8]:
    """The picture in the process's answer, which is as little trusted as the photo."""
    if len(answer) >= _HEADER.size:
        width, height, mode = _HEADER.unpack_from(answer)
        mode = mode.rstrip(b"\0").decode("ascii", "replace")
        bands = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}.get(mode, 0)
        if bands and len(answer) == _HEADER.size + width * height * bands and width and height:
            check_size(name, width, height, max_megapixels)
            return np.asarray(to_rgb(Image.frombytes(mode, (width, height), answer[_HEADER.size :])))
    raise TruncatedImageError(f"{name} can't be decoded; {CONVERT_HEIC}.")


def _failure(done: subprocess.CompletedProcess[bytes], name: str, max_megapixels: float) -> WmsError:
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    last = said[-1] if said else f"exit code {done.returncode}"
    if done.returncode == heic_child.TOO_OLD:
        least = ", ".join(f"{library} {'.'.join(map(str, version))}" for library, version in heic_child.LEAST.items())
        return NotAnImageError(
            f"{name} is a HEIC photo, and the installed decoder isn't safe: {last}, where at least {least} is needed; "
            f"`make install FOR=heic` brings that. Or {CONVERT_HEIC}."
        )
    if done.returncode == heic_child.TOO_LARGE:
        try:
            width, height = map(int, last.split())
            check_size(name, width, height, max_megapixels)
        except ValueError:
            pass
        except ImageTooLargeError as error:
            return error
    return TruncatedImageError(f"{name} is a HEIC photo that can't be decoded ({last}); {CONVERT_HEIC}.")
