"""Pairs a folder's images and masks by name alone; unlike `wms.data.pairs`, this module reports every mistake."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import PurePath

from wms.data.qa.facts import Listing


def stem_of(name: str) -> str:
    """The key that pairs a file: the name without extension, in Unicode's composed form."""
    return unicodedata.normalize("NFC", PurePath(name).stem)


def by_stem(listing: Listing | None) -> dict[str, list[str]]:
    """The names of a folder's images by stem; several names for a stem are a mistake."""
    found: dict[str, list[str]] = {}
    for name in listing.files if listing else ():
        found.setdefault(stem_of(name), []).append(name)
    return found


def match(images: Listing | None, masks: Listing | None) -> Iterator[tuple[str, str]]:
    """(Image file, mask file) of each stem that both folders have; the first file if several share the stem."""
    of_mask = by_stem(masks)
    for stem, names in by_stem(images).items():
        if stem in of_mask:
            yield f"images/{names[0]}", f"masks/{of_mask[stem][0]}"
