"""`validate_data`: checks a folder of photos and masks and reports the problems."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wms.config import DataConfig
from wms.data.qa.facts import FolderFacts
from wms.data.qa.gather import OnProgress, gather
from wms.data.qa.listing import match
from wms.data.qa.problems import Problem
from wms.data.qa.store import FactStore
from wms.data.qa.verdict import judge, only_about_new, report, valid_pairs
from wms.data.splits import SplitRecord
from wms.paths import from_root

CACHE_FOLDER: Final = Path(".cache/qa")
"""Where facts are kept, from the repository's root."""


@dataclass(frozen=True)
class Checked:
    """A finished check: the facts, the problems found, and the report as plain JSON values."""

    facts: FolderFacts
    problems: tuple[Problem, ...]
    report: dict[str, Any]


def validate_data(
    folder: Path | str,
    *,
    splits_file: Path | None = None,
    cache_folder: Path | None = None,
    config: DataConfig | None = None,
    existing_looks: Mapping[str, str] | None = None,
    workers: int | None = None,
) -> dict[str, Any]:
    """Check folder/images and folder/masks; returns the report, also for a set with errors.

    docs/data-qa.md lists the report's keys; `status` is "FAIL" if the set has an error. `splits_file` lets the check
    see near-duplicates in different splits. `existing_looks` (name -> look) are photos that the data set has
    beside this folder. From 64 new pairs on, `workers` processes read (default: one a core); a script that calls this
    needs the usual `if __name__ == "__main__":`. Raises DataNotFoundError for a folder that can't be listed, SplitError
    for a damaged split record, DiskFullError or UnwritableError for the cache, DeviceError when a reading process dies.
    """
    settings: dict[str, Any] = {"config": config, "existing_looks": existing_looks, "workers": workers}
    return check(Path(folder), splits_file=splits_file, cache_folder=cache_folder, **settings).report


def check(
    folder: Path,
    *,
    splits_file: Path | None = None,
    cache_folder: Path | None = None,
    config: DataConfig | None = None,
    only_new: bool = False,
    existing_looks: Mapping[str, str] | None = None,
    workers: int | None = None,
    on_progress: OnProgress | None = None,
) -> Checked:
    """As `validate_data`, together with the facts and problems behind the report.

    `only_new` leaves out warnings about pairs that an earlier check passed; `on_progress` gets the files read so far.
    """
    config = config or DataConfig()
    recorded = SplitRecord(splits_file).entries if splits_file else ()
    with FactStore(cache_folder or from_root(CACHE_FOLDER)) as store:
        facts = gather(folder, store, config, workers=workers or _cores(), on_progress=on_progress)
        problems = judge(
            facts,
            folder=str(folder),
            config=config,
            splits={entry.sha256: entry.split for entry in recorded},
            existing=existing_looks,
        )
        passing = {_key(facts, *pair) for pair in valid_pairs(facts, problems)}
        if only_new:
            problems = only_about_new(problems, _passed_files(facts, store))
        store.mark_passed(sorted(passing))
    return Checked(facts, problems, report(facts, problems, folder=str(folder)))


def _passed_files(facts: FolderFacts, store: FactStore) -> set[str]:
    keys = {pair: _key(facts, *pair) for pair in match(facts.images, facts.masks)}
    passed = store.passed(sorted(set(keys.values())))
    return {file for pair, key in keys.items() if key in passed for file in pair}


def _key(facts: FolderFacts, image: str, mask: str) -> str:
    """The key under which a passed pair is remembered: both contents."""
    return f"{facts.hashes.get(image, '')}:{facts.hashes.get(mask, '')}"


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
