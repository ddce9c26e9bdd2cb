"""Collects the facts of a data set: lists and hashes the files, and opens only files that no earlier check has seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from wms.config import DataConfig
from wms.data.hashes import hash_files
from wms.data.qa.facts import FILE, Fact, FolderFacts, ImageFacts, Listing, MaskFacts, PairFacts, Unreadable
from wms.data.qa.listing import list_folder, match
from wms.data.qa.naming import names_given
from wms.data.qa.pool import read_all
from wms.data.qa.reading import Task
from wms.data.qa.store import FactStore
from wms.errors import DataNotFoundError
from wms.files import sha256_file

OnProgress = Callable[[int, int], None]
"""Called with (tasks done, tasks in all)."""

KINDS: Final = ("image", "mask", "pair")
Found = TypeVar("Found", bound=Fact)

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
        image_facts=known.of("image", ImageFacts, Unreadable),
        mask_facts=known.of("mask", MaskFacts, Unreadable),
        pair_facts=known.of("pair", PairFacts),
        named=names_given(folder),
        decoded=sum(task.files for task in tasks),
    )


Unit = tuple[str, str]
"""(Image file, mask file); "" for an absent or unreadable file."""


def _units(images: Listing | None, masks: Listing | None, hashes: Mapping[str, str]) -> list[Unit]:
    """Every hashed file once, together with the partner if present."""
    units = [pair for pair in match(images, masks) if pair[0] in hashes and pair[1] in hashes]
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
    """Facts from the cache and facts read in this check, by kind ("image", "mask", "pair") and content."""

    def __init__(self, store: FactStore, max_megapixels: float) -> None:
        self._store, self._limit = store, max_megapixels
        self._facts: dict[tuple[str, str], Fact] = {}
        self._waiting: dict[tuple[str, str], Fact] = {}

    def of(self, kind: str, *types: type[Found]) -> dict[str, Found]:
        """The facts of a kind that are of `types`."""
        return {key: fact for (its, key), fact in self._facts.items() if its == kind and isinstance(fact, types)}

    def load(self, units: Iterable[Unit], hashes: Mapping[str, str]) -> None:
        """Load the cached facts about `units`."""
        wanted = [key for unit in units for key in _keys(unit, hashes).items()]
        for kind in KINDS:
            # The limit on pixels decides whether a file is readable, so it is part of the key.
            keys = {self._key(key) for its, key in wanted if its == kind}
            for key, fact in self._store.get(kind, sorted(keys)).items():
                self._facts[kind, key.rpartition("@")[0]] = fact

    def tasks(self, folder: Path, units: Iterable[Unit], hashes: Mapping[str, str]) -> list[Task]:
        """The tasks for facts still missing, each content once."""
        asked = set(self._facts)
        tasks = []
        for unit in units:
            keys = _keys(unit, hashes)
            spoiled = any(isinstance(self._facts.get(key), Unreadable) for key in keys.items())
            wanted = [kind in keys and (kind, keys[kind]) not in asked for kind in KINDS]
            wanted[2] = wanted[2] and not spoiled
            asked |= keys.items()
            if any(wanted):
                image, mask = (folder / name if name else None for name in unit)
                tasks.append(Task(image, keys.get("image", ""), mask, keys.get("mask", ""), self._limit, *wanted))
        return tasks

    def add(self, task: Task, found: Mapping[str, Fact]) -> None:
        """Take the facts of a task that was read."""
        keys = {"image": task.image_sha256, "mask": task.mask_sha256}
        keys["pair"] = ":".join(keys.values())
        for kind, fact in found.items():
            self._facts[kind, keys[kind]] = fact
            if not isinstance(fact, Unreadable) or fact.lasting:
                self._waiting[kind, self._key(keys[kind])] = fact
        if len(self._waiting) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Write the facts that aren't on the disk yet."""
        if self._waiting:
            self._store.put(self._waiting)
            self._waiting = {}

    def _key(self, content: str) -> str:
        return f"{content}@{self._limit:g}"


def _keys(unit: Unit, hashes: Mapping[str, str]) -> dict[str, str]:
    """What identifies each kind of fact about a unit; a pair's is both contents."""
    keys = {kind: hashes[name] for kind, name in zip(KINDS, unit, strict=False) if name}
    return {**keys, "pair": ":".join(keys.values())} if len(keys) == 2 else keys
