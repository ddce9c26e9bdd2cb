"""Matches masks to images by stem, regardless of the extensions."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from wms.config import DataConfig
from wms.data.images import SUFFIXES, read_image
from wms.data.masks import read_mask
from wms.errors import DataNotFoundError, PairingError, SizeMismatchError


@dataclass(frozen=True, order=True)
class Pair:
    """A photo and a mask; `stem` is the file name without extension, in Unicode's composed form."""

    stem: str
    image: Path
    mask: Path


@dataclass(frozen=True)
class Sample:
    """A pair of a split with the hashes of both files; `has_strip` is False if the mask is known to be empty."""

    pair: Pair
    image_sha256: str
    mask_sha256: str
    has_strip: bool = True


def find_pairs(folder: Path) -> tuple[Pair, ...]:
    """All pairs of folder/images and folder/masks, sorted by stem.

    Raises DataNotFoundError for a missing or empty folder, PairingError for a file without a partner or two files with
    the same stem.
    """
    images = _by_stem(folder / "images", "Images")
    masks = _by_stem(folder / "masks", "Masks")
    _refuse_lonely(images.keys() - masks.keys(), images, "image", f"a mask in {folder / 'masks'}")
    _refuse_lonely(masks.keys() - images.keys(), masks, "mask", f"an image in {folder / 'images'}")
    return tuple(Pair(stem, images[stem], masks[stem]) for stem in sorted(images))


def read_pair(pair: Pair, config: DataConfig) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Decode a pair: (H, W, 3) uint8 and (H, W) uint8 of 0 or 255, both upright.

    Raises SizeMismatchError if the sizes differ, and the errors of `read_image` and `read_mask`.
    """
    image = read_image(pair.image, max_megapixels=config.max_megapixels)
    mask = read_mask(pair.mask, max_megapixels=config.max_megapixels, max_grey_fraction=config.max_grey_fraction)
    if image.shape[:2] != mask.shape:
        raise SizeMismatchError(
            f"{pair.mask} has {mask.shape[1]} x {mask.shape[0]} pixels, but its upright image "
            f"{pair.image} has {image.shape[1]} x {image.shape[0]}; draw the mask on the upright photo."
        )
    return image, mask


def list_images(folder: Path) -> list[Path]:
    """Files in `folder` that are named like images, sorted by name; hidden files don't count."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def stem_of(name: str) -> str:
    """The key that pairs a file: the name without extension, in Unicode's composed form."""
    # macOS stores names decomposed; composed, the same name pairs on every system.
    return unicodedata.normalize("NFC", PurePath(name).stem)


def _by_stem(folder: Path, what: str) -> dict[str, Path]:
    if not folder.is_dir():
        pointers = [place.with_name(f"{place.name}.dvc") for place in (folder, folder.parent)]
        known = any(pointer.is_file() for pointer in pointers)
        how = "`dvc pull` brings it" if known else "create it and copy the files there, or name another data set"
        raise DataNotFoundError(f"{what} directory not found: {folder}; {how}.")
    found: dict[str, Path] = {}
    for path in list_images(folder):
        stem = stem_of(path.name)
        if stem in found:
            raise PairingError(f"{found[stem]} and {path.name} both claim the name {stem!r}; remove one of them.")
        found[stem] = path
    if not found:
        raise DataNotFoundError(f"{folder} holds no image ({', '.join(sorted(SUFFIXES))}); copy some there first.")
    return found


def _refuse_lonely(stems: Iterable[str], files: dict[str, Path], kind: str, partner: str) -> None:
    lonely = sorted(stems)
    if lonely:
        more = f" (and {len(lonely) - 1} more {kind}s)" if len(lonely) > 1 else ""
        raise PairingError(
            f"The {kind} {files[lonely[0]]}{more} has no partner: add {partner} with the same name, "
            f"or remove the {kind}."
        )
