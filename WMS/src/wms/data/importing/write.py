"""Writes a planned import into a folder: first every name is compared, then whole files are written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from wms.data.images import decode_image
from wms.data.importing.photos import Photos, stem
from wms.data.importing.plan import Planned, photo_bytes
from wms.data.qa.names import folded, shown
from wms.errors import NameTakenError, WmsError
from wms.files import sha256_file, write_atomic
from wms.regular import read_regular

IMAGES, MASKS = "images", "masks"


def missing(planned: Iterable[Planned], folder: Path) -> list[tuple[Planned, bool, bool]]:
    """What `folder` lacks: each photo of which it lacks the photo, the mask or both, and whether it lacks either.

    Raises NameTakenError if the folder has a photo or a mask of that name with another content.
    """
    images, masks = _by_stem(folder / IMAGES), _by_stem(folder / MASKS)
    lacking = []
    for one in planned:
        key = folded(stem(one.name))
        needs = (_is_missing(one, images.get(key), one.name), _is_missing(one, masks.get(key), one.mask_name))
        if any(needs):
            lacking.append((one, *needs))
    return lacking


def write(lacking: Iterable[tuple[Planned, bool, bool]], photos: Photos, folder: Path) -> None:
    """Write photos, unchanged, and masks. Killed at any point, the next import finishes the rest.

    Raises DiskFullError or UnwritableError.
    """
    for one, needs_photo, needs_mask in lacking:
        if needs_photo:
            write_atomic(folder / IMAGES / one.name, photo_bytes(one.item, one.source, photos))
        if needs_mask:
            write_atomic(folder / MASKS / one.mask_name, one.mask)


def _by_stem(folder: Path) -> dict[str, Path]:
    entries = folder.iterdir() if folder.is_dir() else ()
    return {folded(stem(path.name)): path for path in entries if not path.name.startswith(".")}


def _is_missing(one: Planned, path: Path | None, name: str) -> bool:
    if path is None:
        return True
    is_photo = path.parent.name == IMAGES
    if path.name == name and (sha256_file(path) == one.sha256 if is_photo else _equal(one, path)):
        return False
    raise NameTakenError(
        f"{shown(str(path))} is there already, with another content than {shown(one.source or one.name)}; nothing was "
        "written. Remove it, or rename the photo in the labelling tool and export again."
    )


def _equal(one: Planned, path: Path) -> bool:
    """Whether a mask file holds the planned pixels, however they were packed."""
    content = read_regular(path)
    try:
        return content == one.mask or np.array_equal(
            decode_image(content, str(path)), decode_image(one.mask, one.mask_name)
        )
    except WmsError:
        return False
