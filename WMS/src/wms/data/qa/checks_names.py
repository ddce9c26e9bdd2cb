"""Checks that need no pixels: folders, names, links and partners. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from wms.data.kinds import advice
from wms.data.pairs import stem_of
from wms.data.qa.facts import FolderFacts, Listing
from wms.data.qa.listing import by_stem
from wms.data.qa.names import folded, shown, unsafe
from wms.data.qa.problems import Problem, listed

_OTHERS = {
    "symlink": ("symlink", "is a symbolic link, which elsewhere leads nowhere", "put the file itself there"),
    "folder": ("subfolder", "is a folder, and nothing in it is used", "move its files up, or the folder away"),
    "special": ("special-file", "is neither a file nor a folder", "remove it"),
}


def check_folders(facts: FolderFacts, folder: str) -> Iterator[Problem]:
    """Missing or empty folders."""
    for part, listing in (("images", facts.images), ("masks", facts.masks)):
        where = shown(f"{folder}/{part}")
        if listing is None:
            what = f"{part.capitalize()} directory not found: {where}"
            yield Problem("missing-folder", "error", (), what, "create it and copy the files there")
        elif not listing.files:
            yield Problem("no-files", "error", (), f"{where} holds no image", "copy some there first")


def check_entries(facts: FolderFacts) -> Iterator[Problem]:
    """Names that are unsafe or collide, and entries that aren't ordinary files."""
    for part, listing in (("images", facts.images), ("masks", facts.masks)):
        if listing is None:
            continue
        for name, kind in listing.others:
            yield _other(f"{part}/{name}", kind)
        names = [*listing.files, *(name for name, _ in listing.others)]
        for name in names:
            if (reason := unsafe(name)) is not None:
                what = f"{part}/{shown(name)} can't be used: its name {reason}"
                yield Problem("unsafe-name", "error", (f"{part}/{name}",), what, "rename it and its partner")
        for name in sorted(listing.empty):
            what = f"{part}/{shown(name)} is empty (0 bytes)"
            yield Problem("empty-file", "error", (f"{part}/{name}",), what, "copy it again")
        yield from _collisions(part, listing)


def check_partners(facts: FolderFacts) -> Iterator[Problem]:
    """Images without a mask and masks without an image."""
    if facts.images is None or facts.masks is None:
        return
    parts = (("images", facts.images, "masks", facts.masks), ("masks", facts.masks, "images", facts.images))
    for part, listing, other_part, other in parts:
        stems = by_stem(other)
        by_folded = {folded(stem): names[0] for stem, names in stems.items()}
        for name in listing.files:
            if stem_of(name) not in stems:
                yield _lonely(f"{part}/{name}", other_part, by_folded.get(folded(stem_of(name))))


def _other(file: str, kind: str) -> Problem:
    if kind in _OTHERS:
        check, what, next_step = _OTHERS[kind]
        return Problem(check, "error", (file,), f"{shown(file)} {what}", next_step)
    if (told := advice(file)) is not None:
        what, _, next_step = told.rpartition("; ")
        return Problem("not-read", "error", (file,), f"{shown(file)} isn't read: it is {what}", next_step)
    what = f"{shown(file)} isn't used: its name doesn't end like an image's"
    return Problem("other-file", "warning", (file,), what, "convert it to JPEG or PNG, or remove it")


def _lonely(file: str, other_part: str, nearly: str | None) -> Problem:
    kind, missing = ("image", "mask") if file.startswith("images/") else ("mask", "image")
    what = f"{shown(file)} has no {missing}: nothing in {other_part}/ is called {shown(PurePath(file).stem)}"
    next_step = f"add the {missing} under that name, or remove the {kind}"
    if nearly is not None:
        what = f"{shown(file)} has no {missing}: {other_part}/{shown(nearly)} differs in case"
        next_step = "give both the same name"
    return Problem(f"no-{missing}", "error", (file,), what, next_step)


def _collisions(part: str, listing: Listing) -> Iterator[Problem]:
    alike: dict[str, list[str]] = {}
    for name in listing.files:
        alike.setdefault(folded(PurePath(name).stem), []).append(name)
    for names in alike.values():
        if len(names) < 2:
            continue
        files = tuple(f"{part}/{name}" for name in names)
        if len({stem_of(name) for name in names}) == 1:
            what = f"{listed(files)} claim the same name {shown(stem_of(names[0]))!r}"
            yield Problem("same-stem", "error", files, what, f"keep one of the {len(files)}")
        else:
            what = f"{listed(files)} differ in case only: on Windows and macOS one replaces the other"
            yield Problem("case-collision", "error", files, what, "rename all but one, and their partners")
