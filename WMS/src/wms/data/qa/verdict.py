"""The verdict: from facts to problems to the report. Pure, so that a test needs no files."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from wms.config import DataConfig
from wms.data.qa.checks_alike import check_alike, check_exact
from wms.data.qa.checks_content import check_images, check_masks, check_pairs, files_with
from wms.data.qa.checks_names import check_entries, check_folders, check_partners
from wms.data.qa.facts import FolderFacts, ImageFacts, MaskFacts
from wms.data.qa.listing import match
from wms.data.qa.names import shown
from wms.data.qa.problems import Problem

_ORDER = {"error": 0, "warning": 1, "note": 2}


def judge(
    facts: FolderFacts,
    *,
    folder: str,
    config: DataConfig,
    splits: Mapping[str, str] | None = None,
    existing: Mapping[str, str] | None = None,
) -> tuple[Problem, ...]:
    """All problems of a data set, errors first, in an order that depends only on the facts.

    Messages name the set by `folder`; `splits` is sha256 -> split of recorded photos; `existing` is name -> look of
    photos in the data set but not in this folder.
    """
    found = [
        *check_folders(facts, folder),
        *check_entries(facts),
        *check_partners(facts),
        *check_images(facts),
        *check_masks(facts, config),
        *check_pairs(facts),
        *check_exact(facts),
        *check_alike(facts, splits or {}, existing or {}, config.near_duplicate_bits),
    ]
    return tuple(sorted(found, key=lambda p: (_ORDER[p.severity], p.check, p.files, p.message)))


def valid_pairs(facts: FolderFacts, problems: Iterable[Problem]) -> list[tuple[str, str]]:
    """(Image file, mask file) of the usable pairs: both files are readable, and no error names either."""
    bad = {file for problem in problems if problem.severity == "error" for file in problem.files}
    pairs = match(facts.images, facts.masks)
    return [pair for pair in pairs if bad.isdisjoint(pair) and all(file in facts.hashes for file in pair)]


def only_about_new(problems: Iterable[Problem], passed: Collection[str]) -> tuple[Problem, ...]:
    """Problems without the warnings and notes that concern only files that have `passed` before."""
    old = set(passed)
    return tuple(p for p in problems if p.severity == "error" or not p.files or not old.issuperset(p.files))


def report(facts: FolderFacts, problems: Sequence[Problem], *, folder: str) -> dict[str, Any]:
    """The report as plain JSON values: see docs/data-qa.md. PASS if no problem is an error."""
    texts = {severity: [p.text for p in problems if p.severity == severity] for severity in _ORDER}
    return {
        "status": "FAIL" if texts["error"] else "PASS",
        "folder": shown(folder),
        "image_count": len(facts.images.files) if facts.images else 0,
        "mask_count": len(facts.masks.files) if facts.masks else 0,
        "valid_pairs": len(valid_pairs(facts, problems)),
        "errors": texts["error"],
        "warnings": texts["warning"],
        "notes": texts["note"],
        "statistics": _statistics(facts, problems),
        "problems": [problem.to_plain() for problem in problems],
    }


def _statistics(facts: FolderFacts, problems: Sequence[Problem]) -> dict[str, Any]:
    images = [f for _, f in files_with(facts, "images/", facts.image_facts) if isinstance(f, ImageFacts)]
    masks = [f for _, f in files_with(facts, "masks/", facts.mask_facts) if isinstance(f, MaskFacts)]
    coverage = [100 * mask.coverage for mask in masks]
    return {
        "resolution": _resolution(images),
        "median_coverage_%": _median(coverage),
        "min_coverage_%": round(min(coverage), 3) if coverage else None,
        "max_coverage_%": round(max(coverage), 3) if coverage else None,
        "median_brightness": _median([image.brightness for image in images]),
        "median_sharpness": _median([image.sharpness for image in images]),
        "stored_turned": sum(image.orientation != 1 for image in images),
        "problems_by_check": dict(sorted(Counter(problem.check for problem in problems).items())),
        "files_read": facts.decoded,
        "files_from_cache": max(0, len(facts.hashes) - facts.decoded),
    }


def _resolution(images: Sequence[ImageFacts]) -> dict[str, Any]:
    """Sizes of the upright photos, width x height in pixels."""
    if not images:
        return {"smallest": None, "largest": None, "most_common": None, "distinct": 0}
    by_area = sorted(images, key=lambda image: (image.width * image.height, image.width))
    sizes = Counter(_size(image) for image in by_area)
    return {
        "smallest": _size(by_area[0]),
        "largest": _size(by_area[-1]),
        "most_common": sizes.most_common(1)[0][0],
        "distinct": len(sizes),
    }


def _size(image: ImageFacts) -> str:
    return f"{image.width}x{image.height}"


def _median(values: Sequence[float]) -> float | None:
    return round(statistics.median(values), 3) if values else None
