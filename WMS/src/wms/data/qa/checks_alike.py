"""Checks for duplicate files, exact or near. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from wms.data.alike import groups
from wms.data.qa.facts import FolderFacts, ImageFacts
from wms.data.qa.listing import match
from wms.data.qa.names import shown
from wms.data.qa.problems import Problem, listed


def check_exact(facts: FolderFacts) -> Iterator[Problem]:
    """Photos with the same bytes; a warning for masks with the same bytes beside different photos."""
    by_content: dict[str, list[str]] = {}
    for name, sha in facts.hashes.items():
        if name.startswith("images/"):
            by_content.setdefault(sha, []).append(name)
    for names in by_content.values():
        if len(names) > 1:
            files = tuple(sorted(names))
            what = f"{listed(files)} are the same photo, byte for byte"
            yield Problem("exact-duplicate", "error", files, what, "keep one of them with its mask")
    yield from _shared_masks(facts)


def check_alike(
    facts: FolderFacts, splits: Mapping[str, str], existing: Mapping[str, str], limit: int
) -> Iterator[Problem]:
    """Near-duplicates: an error across different splits, else a warning.

    `splits` tells a photo's split by sha256; a photo recorded as "excluded" is never used and doesn't count. `existing`
    (name -> look) are photos already in the data set but not in this folder.
    """
    looks = _looks(facts, splits)
    names = list(looks)
    others = [(name, look) for name, look in sorted(existing.items()) if looks.get(_as_file(name)) != look]
    for group in groups([*looks.values(), *(look for _, look in others)], limit, asked=len(looks)):
        files = tuple(names[index] for index in group.members if index < len(names))
        known = tuple(others[index - len(names)][0] for index in group.members if index >= len(names))
        placed = sorted({splits[sha] for file in files if (sha := facts.hashes[file]) in splits})
        if len(placed) > 1:
            what = f"{listed(files)} look almost the same, but lie in different splits ({', '.join(placed)})"
            next_step = "remove all but one with their masks: a test photo must not be learned from"
            yield Problem("near-duplicate-across-splits", "error", files, what, next_step)
        elif files and known:
            alike = "looks" if len(files) == 1 else "look"
            what = f"{listed(files)} {alike} almost like {listed(known)} in the data set"
            yield Problem(
                "near-duplicate", "warning", files, what, f"keep it if it adds something{_bits(group.distance, limit)}"
            )
        elif len(files) > 1:
            what = f"{listed(files)} look almost the same"
            yield Problem("near-duplicate", "warning", files, what, f"keep one of them{_bits(group.distance, limit)}")


def _bits(distance: int, limit: int) -> str:
    if distance > limit:
        return " (laid over each other they show one scene: a burst, a crop, a turn or a mirror image)"
    return f" (they differ in {distance} of 256 bits)"


def _as_file(name: str) -> str:
    return name if name.startswith("images/") else f"images/{name}"


def _looks(facts: FolderFacts, splits: Mapping[str, str]) -> dict[str, str]:
    """Look by file; of exact duplicates, which are an error already, only the first."""
    looks: dict[str, str] = {}
    seen: set[str] = set()
    for name in sorted(facts.hashes):
        sha = facts.hashes[name]
        known = facts.image_facts.get(sha)
        is_new = name.startswith("images/") and sha not in seen and splits.get(sha) != "excluded"
        if is_new and isinstance(known, ImageFacts):
            seen.add(sha)
            looks[name] = known.look
    return looks


def _shared_masks(facts: FolderFacts) -> Iterator[Problem]:
    images_of: dict[str, dict[str, str]] = {}
    for image, mask in match(facts.images, facts.masks):
        mask_sha, image_sha = facts.hashes.get(mask), facts.hashes.get(image)
        if mask_sha and image_sha:
            images_of.setdefault(mask_sha, {}).setdefault(image_sha, mask)
    for masks in images_of.values():
        if len(masks) > 1:
            files = tuple(sorted(masks.values()))
            what = f"{listed(files)} are the same mask beside different photos"
            yield Problem("same-mask", "warning", files, what, f"look which photo {shown(files[0])} was drawn on")
