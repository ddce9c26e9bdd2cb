"""Shared by all containers: the result, the error of a file that can't be parsed, the traces of a place in text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

_PLACE: Final = re.compile(rb"GPS(Latitude|Longitude|Position|Coordinates)", re.IGNORECASE)


class OddError(ValueError):
    """A container, or a piece of one, isn't built as its format says; a caller in this package handles the error."""


@dataclass(frozen=True, slots=True)
class Stripped:
    """A file without private metadata; `place` says whether the file named a place."""

    content: bytes = field(repr=False)
    place: bool


def names_place(piece: bytes) -> bool:
    """Return whether a text such as an XMP packet names a position.

    >>> names_place(b'<rdf:Description exif:GPSLatitude="52,31N"/>')
    True
    """
    return _PLACE.search(piece) is not None
