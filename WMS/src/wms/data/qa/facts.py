"""The facts that reading finds about files: frozen, keyed by content, and enough for the verdict without any file.

Facts never hold a path or a name, so that equal bytes in any folder have equal facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from wms.data.mask_values import MaskClass

VERSION: Final = 5
"""Raised whenever the meaning of a fact changes; older cached facts are then not found."""

FILE: Final = "<file>"
"""Stands for the file's name in the message of `Unreadable`."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file without usable pixels: the check's code and a sentence in which FILE stands for the name."""

    check: str
    message: str
    lasting: bool = True
    """Whether the content is the cause; a disk's read error is temporary and isn't cached."""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """A photo. Sizes in pixels; brightness and sharpness are measured at a short side of 512 pixels."""

    width: int
    """Of the upright photo."""
    height: int
    orientation: int
    """EXIF orientation, 1..8; 1 without EXIF data."""
    brightness: float
    """Mean grey value, 0..255."""
    glare: float
    """Share of pixels with a grey value of 250 or more."""
    sharpness: float
    """Standard deviation of the Laplacian in grey values, 95th percentile over tiles of 16 x 16 pixels."""
    look: str
    """Perceptual hash and sketch: see `wms.data.looks`."""
    place: bool = False
    """Whether the file names the place where the photo was taken; facts of an earlier version don't tell."""


@dataclass(frozen=True, slots=True)
class MaskFacts:
    """A mask. Sizes in pixels; shares are of all pixels."""

    width: int
    height: int
    orientation: int
    neither: float
    """Share of pixels that a viewer doesn't show as white on the strip and as black elsewhere."""
    grey: float
    """Share of pixels between black and the strip's colour."""
    coverage: float
    """Share of the strip."""
    pieces: int
    """Separate areas of the strip, counted at 512 pixels on the long side; specks of 1 or 2 pixels don't count."""
    classes: tuple[MaskClass, ...] = ()
    """The distinct values, most frequent first; none for a mask with soft edges."""
    ambiguous: bool = False
    """Whether the classes don't tell which of them is the strip."""
    hides: str = ""
    """Why the mask reads as empty or nearly so, although the file marks pixels; else ""."""


@dataclass(frozen=True, slots=True)
class PairFacts:
    """How well a mask fits the photo; None if the pixels don't tell. See `agreement`."""

    agreement: float | None


@dataclass(frozen=True, slots=True)
class Listing:
    """A folder's entries by name: files that count as images, and all other entries as (name, kind)."""

    files: tuple[str, ...]
    others: tuple[tuple[str, str], ...] = ()
    """Kinds: "symlink", "folder", "special", "file"."""
    empty: frozenset[str] = frozenset()
    """Names of files of 0 bytes."""


@dataclass(frozen=True)
class FolderFacts:
    """All facts that the verdict on a data set needs. Files are named "images/a.jpg" or "masks/a.png"."""

    images: Listing | None
    """None: the folder is missing."""
    masks: Listing | None
    hashes: Mapping[str, str] = field(default_factory=dict)
    """File -> sha256."""
    unreadable: Mapping[str, Unreadable] = field(default_factory=dict)
    """File -> why the bytes couldn't be read."""
    image_facts: Mapping[str, ImageFacts | Unreadable] = field(default_factory=dict)
    """Sha256 -> facts."""
    mask_facts: Mapping[str, MaskFacts | Unreadable] = field(default_factory=dict)
    pair_facts: Mapping[str, PairFacts] = field(default_factory=dict)
    """Image's sha256, colon, mask's sha256 -> facts."""
    named: frozenset[str] = frozenset()
    """The classes that earlier runs of `--fix` here were told to be the strip."""
    decoded: int = 0
    """Files whose pixels were read this time; the others' facts came from the cache."""


Fact = ImageFacts | MaskFacts | PairFacts | Unreadable
_KINDS: Final[dict[str, type[Fact]]] = {
    "image": ImageFacts,
    "mask": MaskFacts,
    "pair": PairFacts,
    "unreadable": Unreadable,
}
_NAMES: Final = {kind: name for name, kind in _KINDS.items()}


def to_plain(fact: Fact) -> dict[str, Any]:
    """A fact as plain JSON values."""
    return {"kind": _NAMES[type(fact)], **asdict(fact)}


def from_plain(values: Mapping[str, Any]) -> Fact:
    """The fact behind the values of `to_plain`. Raises KeyError or TypeError for other values."""
    rest = {key: value for key, value in values.items() if key != "kind"}
    if "classes" in rest:
        rest["classes"] = tuple(MaskClass(**one) for one in rest["classes"])
    return _KINDS[values["kind"]](**rest)
