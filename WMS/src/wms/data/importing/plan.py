"""Plans an import: for each labelled photo its mask, or the reason why it is left out. Nothing is written here."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

import numpy as np
from PIL import Image

from wms.command import nearest
from wms.data.heic import jpeg_of_heic
from wms.data.images import decode_image, orientation_in, turned_upright
from wms.data.importing.photos import Photos, stem
from wms.data.importing.records import Canvas, LabelFault, Labelled, brief, explained
from wms.data.kinds import HEAD_BYTES, HEIC_SUFFIXES, kind_of
from wms.data.masks import black_white
from wms.data.qa.names import folded, shown, unsafe
from wms.errors import ExportClassError, NameTakenError, WmsError
from wms.files import sha256_bytes
from wms.pictures import encoded
from wms.text import counted

PICTURES: Final = 60
"""Photos that the report's page shows with their masks; the others are only listed."""
_SIDE: Final = 320  # pixels of a picture's long side


@dataclass(frozen=True)
class Planned:
    """A photo to import as `name`, read from `source`, a path of the export; `mask` is the PNG's bytes.

    `share` is the marked part of the photo (0..1), `origin` the file with the label, `picture` the photo scaled down
    for the report's page, which the first PICTURES photos have.
    """

    name: str
    source: str
    origin: str
    item: Labelled
    sha256: str
    mask: bytes
    share: float
    warnings: tuple[str, ...]
    picture: Image.Image | None

    @property
    def mask_name(self) -> str:
        """The file name of the mask."""
        return f"{stem(self.name)}.png"


@dataclass(frozen=True)
class Skipped:
    """A label that isn't imported: the photo, the file with the label, and the reason as a sentence."""

    photo: str
    origin: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """An import: what is written, what can't be, and the photos that bear no label of the class."""

    label: str
    planned: tuple[Planned, ...]
    skipped: tuple[Skipped, ...]
    unlabelled: tuple[str, ...]


def make_plan(items: Sequence[Labelled], photos: Photos, wanted: str | None) -> Plan:
    """Plan the import of `items`, of whose classes `wanted` is chosen.

    Raises ExportClassError if the class isn't clear, NameTakenError if two photos claim a name.
    """
    label = chosen_class(items, wanted)
    planned: dict[str, Planned] = {}
    skipped: list[Skipped] = []
    seen: set[str] = set()
    for item in items:
        if not item.fault and not any(shape.label == label for shape in item.shapes):
            continue
        source = ""
        try:
            source = _source(item, photos)
            seen.add(source)
            one = _planned(item, source, label, photos, len(planned) < PICTURES)
        except LabelFault as fault:
            skipped.append(Skipped(source or item.photo, item.origin, f"{shown(source or item.photo)} {fault}."))
        except WmsError as error:
            skipped.append(Skipped(source or item.photo, item.origin, str(error)))
        else:
            _add(planned, one)
    return Plan(label, tuple(planned.values()), tuple(skipped), tuple(photos.unlabelled(seen)))


def chosen_class(items: Iterable[Labelled], wanted: str | None) -> str:
    """The class to import: `wanted`, or the only class. Raises ExportClassError, which lists the classes."""
    counts = Counter(label for item in items for label in dict.fromkeys(one.label for one in item.shapes))
    told = ", ".join(f"{shown(label)} (on {counted(count, 'photo')})" for label, count in counts.most_common())
    if wanted is None:
        if len(counts) > 1:
            example = shown(counts.most_common(1)[0][0])
            raise ExportClassError(
                f"The export has {len(counts)} classes: {told}; choose one, as in `--class {example}`."
            )
        return next(iter(counts), "")
    if counts and wanted not in counts:
        hint = nearest(wanted, list(counts))
        raise ExportClassError(f"The export has no class {shown(wanted)!r}{hint}; it has {told}.")
    return wanted


def _add(planned: dict[str, Planned], one: Planned) -> None:
    """Add a photo; the same photo with the same mask counts once. Raises NameTakenError for others."""
    known = planned.setdefault(folded(stem(one.name)), one)
    if (known.name, known.sha256, known.mask) == (one.name, one.sha256, one.mask):
        return
    if known.source == one.source:
        raise NameTakenError(
            f"{shown(one.source or one.name)} is labelled twice, differently: in {shown(known.origin)} and in "
            f"{shown(one.origin)}; keep one of them, and import again."
        )
    raise NameTakenError(
        f"{shown(known.source)} and {shown(one.source)} would be {shown(known.mask_name)} both; give each photo a name "
        "of its own in the labelling tool, and export again."
    )


def _source(item: Labelled, photos: Photos) -> str:
    """The path of the photo in the export; empty if the label's own file holds the photo."""
    if item.fault and not item.guesses:
        raise LabelFault(item.fault)
    try:
        return photos.find(item.guesses)
    except LabelFault:
        if item.embedded is None:
            raise
        return ""


def photo_bytes(item: Labelled, source: str, photos: Photos) -> bytes:
    """The photo's content, from its file or from the label's file; HEIC becomes an upright JPEG.

    Raises LabelFault, and the errors of `Tree` and of `jpeg_of_heic`.
    """
    if source:
        content = photos.tree.read(source)
    else:
        assert item.embedded is not None  # noqa: S101 # nosec B101 - as `_source` says
        content = item.embedded()
    is_heic = kind_of(content[:HEAD_BYTES]) == "HEIC"
    return jpeg_of_heic(content, source or item.photo) if is_heic else content


def _planned(item: Labelled, source: str, label: str, photos: Photos, is_shown: bool) -> Planned:
    if item.fault:
        raise LabelFault(item.fault)
    name = unicodedata.normalize("NFC", PurePosixPath(source or item.photo).name)
    if reason := unsafe(name):
        raise LabelFault(f"can't be used: its name {reason}; rename the photo and export again")
    content = photo_bytes(item, source, photos)
    if PurePosixPath(name).suffix.lower() in HEIC_SUFFIXES:
        name = f"{stem(name)}.jpg"
    photo = Image.fromarray(decode_image(content, name))  # all of it: a photo that is cut off has a sound header
    mask, warning = _mask(item, label, photo.size, orientation_in(content, name))
    if not mask.any():
        raise LabelFault("has a label that marks no pixel")
    shapes = [shape for shape in item.shapes if shape.label == label]
    warnings = dict.fromkeys(filter(None, (warning, *(shape.warning for shape in shapes))))
    png = encoded(Image.fromarray(black_white(mask)), "PNG", optimize=True)
    share = float(mask.mean())
    if is_shown:
        photo.thumbnail((_SIDE, _SIDE))
    picture = photo if is_shown else None
    return Planned(name, source, item.origin, item, sha256_bytes(content), png, share, tuple(warnings), picture)


def _mask(item: Labelled, label: str, upright: tuple[int, int], orientation: int) -> tuple[Canvas, str]:
    """The marked pixels of the upright photo, and a warning if the export doesn't tell which way is up."""
    width, height = upright[::-1] if orientation >= 5 else upright  # as stored
    size = item.size or upright
    if size not in (upright, (width, height)):
        raise LabelFault(
            f"was labelled at {brief(size[0])} x {brief(size[1])} pixels, but has {upright[0]} x {upright[1]}; "
            "export the labels and the photos together"
        )
    canvas = np.zeros((size[1], size[0]), dtype=np.bool_)
    for shape in item.shapes:
        if shape.label == label:
            with explained():
                shape.paint(canvas)
    if size != upright:
        return np.asarray(turned_upright(Image.fromarray(canvas), orientation)), ""
    is_clear = orientation == 1 or (item.size is not None and width != height and orientation >= 5)
    return (
        canvas,
        "" if is_clear else f"its EXIF orientation is {orientation}; the label was taken as drawn on the upright photo",
    )
