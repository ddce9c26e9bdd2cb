"""`wms data uses`, `history` and `diff`: which runs used which images, read from the folder of runs."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from wms.command import Command, folder
from wms.data.versions import DataVersionManager
from wms.paths import RUNS
from wms.tables import Column, make_table, plain_console

_DIGEST = re.compile(r"[0-9a-f]{64}")


def declare_history(parser: argparse.ArgumentParser) -> None:
    """Add the folder of runs."""
    parser.add_argument("--folder", type=folder, default=RUNS, help="where the runs are recorded (%(default)s)")


def declare_uses(parser: argparse.ArgumentParser) -> None:
    """Add the image of the query."""
    declare_history(parser)
    parser.add_argument("image", help="a stem, or an image's SHA-256 or its first digits (8 or more)")


def declare_diff(parser: argparse.ArgumentParser) -> None:
    """Add the two data versions."""
    declare_history(parser)
    parser.add_argument("versions", nargs=2, metavar="VERSION", help="a run's name, or a data version's digits")


def run_uses(options: argparse.Namespace) -> int:
    """Print the runs that used an image; returns 0, also for an image that no run used. Raises TrackingError."""
    manager = DataVersionManager(options.folder)
    none = f"No run recorded in {manager.folder} used {options.image!r}; a digest needs 8 digits or more."
    _print_table([asdict(use) for use in manager.runs_using(options.image)], none)
    return 0


def run_history(options: argparse.Namespace) -> int:
    """Print all runs with their data versions; returns 0. Raises TrackingError."""
    manager = DataVersionManager(options.folder)
    rows = manager.history().drop("augmentation", "manifest").to_dicts()
    _print_table(rows, f"No run is recorded in {manager.folder} yet.")
    return 0


def run_diff(options: argparse.Namespace) -> int:
    """Print the changes between two data versions; returns 0. Raises TrackingError for an unknown version."""
    changes = asdict(DataVersionManager(options.folder).diff(*options.versions)).items()
    rows = [{"change": name.replace("_", " "), "stem": stem} for name, stems in changes for stem in stems]
    _print_table(rows, "The two data versions hold the same images, masks and splits.")
    return 0


def _print_table(rows: Sequence[Mapping[str, Any]], otherwise: str) -> None:
    if not rows:
        print(otherwise)
        return
    columns = [Column(heading.replace("_", " "), wraps=True) for heading in rows[0]]
    cells = [["" if value is None else str(value) for value in row.values()] for row in rows]
    shortened = [[cell[:12] if _DIGEST.fullmatch(cell) else cell for cell in row] for row in cells]
    plain_console().print(make_table(columns, shortened))


USES = Command("List the runs that used an image.", declare_uses, run_uses)
HISTORY = Command("List all runs with their data versions.", declare_history, run_history)
DIFF = Command("Show what changed between two data versions.", declare_diff, run_diff)
