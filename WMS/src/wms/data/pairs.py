"""Matches masks to images by stem, regardless of the extensions."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wms.config import DataConfig
from wms.data.images import read_image
from wms.data.kinds import SUFFIXES, advice
from wms.data.masks import read_mask
from wms.errors import DataNotFoundError, NotAnImageError, PairingError, SizeMismatchError
from wms.paths import ROOT

OWN: Final = DataConfig().folder
"""The data set of this clone, relative to the repository's root."""

_PARTS: Final = ("images", "masks")
_ARCHIVES: Final = (".zip", ".tar", ".gz", ".tgz", ".xz", ".7z", ".rar")
_PULL: Final = "`dvc pull` or `wms data fetch` brings the data set"


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

    Raises DataNotFoundError for a missing or empty folder, NotAnImageError for a picture that isn't read by its name,
    PairingError for a file without a partner or two files with the same stem.
    """
    images, masks = _by_stem(folder, "images"), _by_stem(folder, "masks")
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
    return [path for path in _visible(folder) if path.suffix.lower() in SUFFIXES and path.is_file()]


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataNotFoundError(f"Can't list {folder}: {error.strerror}; change its permissions.") from error


def stem_of(name: str) -> str:
    """The key that pairs a file: the name without extension, in Unicode's composed form."""
    # macOS stores names decomposed; composed, the same name pairs on every system.
    return unicodedata.normalize("NFC", PurePath(name).stem)


def _by_stem(data_set: Path, part: str) -> dict[str, Path]:
    folder = data_set / part
    if part not in _names_in(data_set):  # on a disk that ignores case, "Images" would do here and nowhere else
        what = f"{part.capitalize()} directory not found: {folder}"
        raise DataNotFoundError(f"{what}; {_remedy(data_set, part)}.")
    for path in _visible(folder):
        if path.suffix.lower() not in SUFFIXES and (told := advice(path.name)) is not None:
            raise NotAnImageError(f"{path} isn't read: it is {told}.")
    found: dict[str, Path] = {}
    for path in list_images(folder):
        stem = stem_of(path.name)
        if stem in found:
            raise PairingError(f"{found[stem]} and {path.name} both claim the name {stem!r}; remove one of them.")
        found[stem] = path
    if not found:
        how = _PULL if _is_in_dvc(folder) else "copy some there first"
        raise DataNotFoundError(f"{folder} holds no image ({', '.join(sorted(SUFFIXES))}); {how}.")
    return found


def _names_in(folder: Path) -> list[str]:
    """The names of the folders in `folder`; none where it can't be listed."""
    try:
        return sorted(path.name for path in folder.iterdir() if path.is_dir())
    except OSError:
        return []


def _is_in_dvc(folder: Path) -> bool:
    return any(place.with_name(f"{place.name}.dvc").is_file() for place in (folder, folder.parent))


def _remedy(data_set: Path, part: str) -> str:  # noqa: PLR0911 (one return for each mistake)
    """The end of the sentence about a data set without its folder `part`: what the user probably meant."""
    wanted = f"the folder that holds {' and '.join(f'{name}/' for name in _PARTS)}"
    if data_set.is_file():
        unpack = "unpack it and " if data_set.suffix.lower() in _ARCHIVES else ""
        return f"{data_set} is a file: {unpack}give {wanted}"
    inside = _names_in(data_set)
    if data_set.name.lower() in _PARTS and data_set.is_dir():
        return f"give the folder above, {data_set.parent}: {wanted}"
    if other := next((name for name in inside if name.lower() == part), None):
        return f"rename {data_set / other} to {part}"
    if below := next((name for name in inside if set(_PARTS) <= set(_names_in(data_set / name))), None):
        return f"give {data_set / below}, {wanted}"
    if _is_in_dvc(data_set / part):
        return _PULL
    if data_set == ROOT / OWN:
        return f"{_PULL} where the project has one; else give --data {wanted}"
    if not data_set.exists():
        return f"there is no folder {data_set}; give {wanted}"
    return "create it and copy the files there, or name another data set"


def _refuse_lonely(stems: Iterable[str], files: dict[str, Path], kind: str, partner: str) -> None:
    lonely = sorted(stems)
    if lonely:
        more = f" (and {len(lonely) - 1} more {kind}s)" if len(lonely) > 1 else ""
        raise PairingError(
            f"The {kind} {files[lonely[0]]}{more} has no partner: add {partner} with the same name, "
            f"or remove the {kind}."
        )
