"""Collects the facts of a data set: lists and hashes the files, and opens only files that no earlier check has seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from wms.config import DataConfig
from wms.data.hashes import hash_files
from wms.data.qa.facts import FILE, Fact, FolderFacts, ImageFacts, Listing, MaskFacts, PairFacts, Unreadable
from wms.data.qa.listing import list_folder
from wms.data.qa.pairing import match
from wms.data.qa.pool import read_all
from wms.data.qa.reading import Task
from wms.data.qa.store import FactStore
from wms.errors import DataNotFoundError
from wms.files import sha256_file

OnProgress = Callable[[int, int], None]
"""Called with (tasks done, tasks in all)."""

_BATCH: Final = 64  # facts kept in one transaction: what a kill can lose


def gather(
    folder: Path, store: FactStore, config: DataConfig, *, workers: int, on_progress: OnProgress | None = None
) -> FolderFacts:
    """The facts of folder/images and folder/masks. Symbolic links aren't followed, subfolders not entered.

    `workers` processes read the new files. Raises UnwritableError or DiskFullError for the cache, DeviceError when a
    reading process dies.
    """
    images, masks = list_folder(folder / "images"), list_folder(folder / "masks")
    names = [*_with_content("images", images), *_with_content("masks", masks)]
    by_path, unreadable = _hash([folder / name for name in names], store.path.parent / "hashes.json")
    hashes = {name: by_path[folder / name] for name in names if folder / name in by_path}
    units = _units(images, masks, hashes)
    known = _Known(store, config.max_megapixels)
    known.load(units, hashes)
    tasks = known.tasks(folder, units, hashes)
    for done, (task, found) in enumerate(read_all(tasks, workers), start=1):
        known.add(task, found)
        if on_progress:
            on_progress(done, len(tasks))
    known.flush()
    return FolderFacts(
        images=images,
        masks=masks,
        hashes=hashes,
        unreadable={name: unreadable[folder / name] for name in names if folder / name in unreadable},
        image_facts=known.images,
        mask_facts=known.masks,
        pair_facts=known.pairs,
        decoded=sum(task.files for task in tasks),
    )


Unit = tuple[str, str]
"""(Image file, mask file); "" for an absent or unreadable file."""


def _units(images: Listing | None, masks: Listing | None, hashes: Mapping[str, str]) -> list[Unit]:
    """Every hashed file once, together with the partner if present."""
    pairs = [(f"images/{image}", f"masks/{mask}") for image, mask in match(images, masks)]
    units = [pair for pair in pairs if pair[0] in hashes and pair[1] in hashes]
    paired = {name for unit in units for name in unit}
    alone = [name for name in hashes if name not in paired]
    return units + [(name, "") if name.startswith("images/") else ("", name) for name in alone]


def _with_content(part: str, listing: Listing | None) -> Iterator[str]:
    """Files that aren't empty; an empty file has no pixels to read."""
    if listing is not None:
        yield from (f"{part}/{name}" for name in listing.files if name not in listing.empty)


def _hash(paths: Sequence[Path], memory: Path) -> tuple[dict[Path, str], dict[Path, Unreadable]]:
    try:
        return hash_files(paths, memory), {}
    except DataNotFoundError:  # a file can't be read: hash each file alone to find out which
        hashes, unreadable = {}, {}
        for path in paths:
            try:
                hashes[path] = sha256_file(path)
            except OSError as error:
                reason = f"{FILE} can't be read: {error.strerror}; change its permissions, or copy it again."
                unreadable[path] = Unreadable("unreadable", reason, lasting=False)
        return hashes, unreadable


class _Known:
    """Facts from the cache and facts read in this check."""

    def __init__(self, store: FactStore, max_megapixels: float) -> None:
        self.images: dict[str, ImageFacts | Unreadable] = {}
        self.masks: dict[str, MaskFacts | Unreadable] = {}
        self.pairs: dict[tuple[str, str], PairFacts] = {}
        self._store = store
        self._limit = max_megapixels
        self._waiting: dict[tuple[str, str], Fact] = {}

    def load(self, units: Iterable[Unit], hashes: Mapping[str, str]) -> None:
        """Load the cached facts about `units`."""
        contents = [(hashes.get(image, ""), hashes.get(mask, "")) for image, mask in units]
        wanted = {
            "image": {image for image, _ in contents if image},
            "mask": {mask for _, mask in contents if mask},
            "pair": {f"{image}:{mask}" for image, mask in contents if image and mask},
        }
        for kind, keys in wanted.items():
            # The limit on pixels decides whether a file is readable, so it is part of the key.
            for key, fact in self._store.get(kind, [self._key(key) for key in keys]).items():
                self._take(kind, key.rpartition("@")[0], fact)

    def tasks(self, folder: Path, units: Iterable[Unit], hashes: Mapping[str, str]) -> list[Task]:
        """The tasks for facts still missing, each content once."""
        asked: set[tuple[str, str]] = set()
        tasks = []
        for image, mask in units:
            image_sha, mask_sha = hashes.get(image, ""), hashes.get(mask, "")
            spoiled = any(
                isinstance(known, Unreadable) for known in (self.images.get(image_sha), self.masks.get(mask_sha))
            )
            known = (image_sha in self.images, mask_sha in self.masks, (image_sha, mask_sha) in self.pairs or spoiled)
            wanted = [
                bool(image) and not known[0] and ("image", image_sha) not in asked,
                bool(mask) and not known[1] and ("mask", mask_sha) not in asked,
                bool(image and mask) and not known[2] and (image_sha, mask_sha) not in asked,
            ]
            asked |= {("image", image_sha), ("mask", mask_sha), (image_sha, mask_sha)}
            if any(wanted):
                paths = [folder / name if name else None for name in (image, mask)]
                tasks.append(Task(paths[0], image_sha, paths[1], mask_sha, self._limit, *wanted))
        return tasks

    def add(self, task: Task, found: Mapping[str, Fact]) -> None:
        """Take the facts of a task that was read."""
        pair = f"{task.image_sha256}:{task.mask_sha256}"
        keys = {"image": task.image_sha256, "mask": task.mask_sha256, "pair": pair}
        for kind, fact in found.items():
            self._take(kind, keys[kind], fact)
            if not isinstance(fact, Unreadable) or fact.lasting:
                self._waiting[kind, self._key(keys[kind])] = fact
        if len(self._waiting) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Write the facts that aren't on the disk yet."""
        if self._waiting:
            self._store.put(self._waiting)
            self._waiting = {}

    def _take(self, kind: str, key: str, fact: Fact) -> None:
        if kind == "image" and isinstance(fact, ImageFacts | Unreadable):
            self.images[key] = fact
        elif kind == "mask" and isinstance(fact, MaskFacts | Unreadable):
            self.masks[key] = fact
        elif kind == "pair" and isinstance(fact, PairFacts):
            image, _, mask = key.partition(":")
            self.pairs[image, mask] = fact

    def _key(self, content: str) -> str:
        return f"{content}@{self._limit:g}"
