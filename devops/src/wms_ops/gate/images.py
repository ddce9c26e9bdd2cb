"""The search for the test pairs' files on this machine, by content; a renamed photo is found, too."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from wms.data.hashes import hash_files
from wms.data.pairs import Pair, list_images
from wms.data.versions import DataItem
from wms.files import sha256_file
from wms.registry.gate import refusal


def find_files(test: Sequence[DataItem], folder: Path, memory: Path) -> Mapping[DataItem, Pair]:
    """Return each test item's photo and mask below `folder`/images and `folder`/masks, in the order of `test`.

    A file with the item's name is hashed anew, regardless of `memory` (earlier hashes, JSON); only if its bytes differ
    or the file is absent, all files are searched. Raises CannotDecideError for a missing or changed file.
    """
    photos = _Finder(folder / "images", memory)
    masks = _Finder(folder / "masks", memory)
    return {
        item: Pair(item.stem, photos.find(item.stem, item.image_sha256), masks.find(item.stem, item.mask_sha256))
        for item in test
    }


class _Finder:
    """The files of a folder, found by name and, if that fails, by content."""

    def __init__(self, folder: Path, memory: Path) -> None:
        self.folder, self.memory = folder, memory
        if not folder.is_dir():
            raise refusal(
                f"there is no folder {folder} with the test images; bring the data set with "
                "`dvc pull`, or name it with --data."
            )
        self.files = {unicodedata.normalize("NFC", path.stem): path for path in list_images(folder)}
        self.by_content: dict[str, Path] | None = None

    def find(self, stem: str, sha256: str) -> Path:
        named = self.files.get(stem)
        if named is not None and sha256_file(named) == sha256:
            return named
        if self.by_content is None:
            hashes = hash_files(self.files.values(), self.memory)
            self.by_content = {digest: path for path, digest in hashes.items()}
        if (found := self.by_content.get(sha256)) is not None:
            return found
        what = "the test image" if self.folder.name == "images" else "the mask of the test image"
        wrong = f"has other bytes in {named} than" if named else f"isn't in {self.folder}, but was there"
        raise refusal(
            f"{what} {stem} {wrong} when the challenger was trained; bring that data set with "
            "`dvc pull`, or train again on this one."
        )
