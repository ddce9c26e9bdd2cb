"""Refuses pictures that cost too much to decode, by their headers where possible, and names what isn't read."""

from __future__ import annotations

import io
import re
import time
from typing import Final

from wms.errors import ImageTooLargeError

MOST_SIDE: Final = 20_000
"""Pixels of a side at most: a thin picture costs more memory for a pixel than others."""

DECODE_SECONDS: Final = 20.0
"""CPU seconds for decoding a picture, at the default limit of 50 megapixels; a higher limit allows more."""

RECIPE_ADVICE: Final = ", or raise data.max_megapixels"
"""The part of a sentence that helps only people who write recipes."""

# A progressive JPEG has about 10 scans, and each scan visits all pixels: 0.6 to 4 ms a megapixel.
_USUAL_SCANS: Final = 30
_MOST_SCANS: Final = 100
_SCANNED_MEGAPIXELS: Final = 1500.0
# A marker behind entropy-coded data, which escapes 0xFF by a zero; RST and TEM have no length.
_MARKER: Final = re.compile(rb"\xff+([^\x00\x01\xd0-\xd7\xff])")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9


def check_size(name: str, width: int, height: int, max_megapixels: float) -> None:
    """Raise ImageTooLargeError if a picture of that many pixels may not be decoded."""
    announced = f"{name} announces {width} x {height} pixels, more than the"
    if width * height > max_megapixels * 1e6:
        raise ImageTooLargeError(f"{announced} {max_megapixels:g} megapixels allowed; scale it down{RECIPE_ADVICE}.")
    if max(width, height) > MOST_SIDE:
        raise ImageTooLargeError(f"{announced} {MOST_SIDE} that a side may have; scale it down or cut it.")


def check_scans(name: str, jpeg: bytes, width: int, height: int) -> None:
    """Raise ImageTooLargeError for a JPEG file whose repeated scans would take minutes to decode."""
    if jpeg.count(b"\xff\xda") <= _USUAL_SCANS:  # an upper bound, found faster than the scans themselves
        return
    megapixels = width * height / 1e6
    most = _MOST_SCANS if megapixels * _MOST_SCANS <= _SCANNED_MEGAPIXELS else _SCANNED_MEGAPIXELS / megapixels
    most = max(_USUAL_SCANS, int(most))
    if _scans(jpeg, most) > most:
        raise ImageTooLargeError(
            f"{name} draws its {width} x {height} pixels in more than {most} passes, where a progressive JPEG has "
            "about 10, and would take too long to decode; open it in a program for pictures and save it as JPEG."
        )


def _scans(jpeg: bytes, most: int) -> int:
    """The scans of the first picture in a JPEG file; counting stops beyond `most`."""
    place, found = 2, 0
    while found <= most and (marker := _MARKER.search(jpeg, place)):
        kind = marker[1][0]
        if kind == _END_OF_IMAGE:
            break
        found += kind == _START_OF_SCAN
        place = marker.end() + int.from_bytes(jpeg[marker.end() : marker.end() + 2], "big")
    return found


class TimedBytes(io.BytesIO):
    """A file's bytes that stop being read when the reader has used too much CPU time.

    Decoders fetch a file piece by piece, so a slow decoder is stopped between two pieces. The decoders that fetch all
    at once (WebP, AVIF, compressed TIFF) need at most 6 CPU seconds for 50 megapixels.
    """

    def __init__(self, content: bytes, name: str, max_megapixels: float) -> None:
        """Allow the calling thread DECODE_SECONDS from now on; sentences call the file `name`."""
        super().__init__(content)
        self._name = name
        self._seconds = DECODE_SECONDS * max(1.0, max_megapixels / 50)
        self._end = time.thread_time() + self._seconds

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes: all that are left, or at most `size`. Raises ImageTooLargeError after the time."""
        if time.thread_time() > self._end:
            raise ImageTooLargeError(
                f"{self._name} takes more than {self._seconds:g} seconds to decode; open it in a program for pictures "
                "and save it as a plain JPEG."
            )
        return super().read(size)
