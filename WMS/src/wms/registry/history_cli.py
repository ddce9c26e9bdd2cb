"""`wms versions scores`: a table of versions, and a plot of Production's scores over time."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from wms.command import Command, folder, own_file
from wms.errors import RegistryUnreachableError
from wms.files import object_in, write_atomic
from wms.json_text import to_json
from wms.pictures import titled
from wms.registry.history import NEWEST, PLOT, HistoryRow, draw_history, from_ledger, from_registry
from wms.registry.ledger import FOLDER, Ledger
from wms.registry.lineage import CARD
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.page import sound_entries
from wms.settings import TrackingSettings
from wms.tables import Column, print_table

_COLUMNS: Final = (
    Column("version", justify="right"),
    Column("stage"),
    Column("Dice", justify="right"),
    Column("IoU", justify="right"),
    Column("loss", justify="right", later=True),
    Column("quality"),
    Column("images", justify="right", later=True),
    Column("parameters", justify="right", later=True),
    Column("verdict", later=True, wraps=True, least=16),
    Column("time"),
)


def run(options: argparse.Namespace) -> int:
    """Print the versions with their scores; returns 0, also without any version.

    If the MLflow server doesn't answer, a message says so and the ledger alone is shown. Raises LedgerError,
    RegistryError, DiskFullError or UnwritableError.
    """
    entries = sound_entries(Ledger(options.models))
    most = None if options.all else NEWEST
    ledger_rows = from_ledger(entries, object_in(options.models / CARD))
    rows, source = ledger_rows if most is None else ledger_rows[-most:], "the ledger"
    if uri := TrackingSettings.read().mlflow_tracking_uri:
        registry = ModelRegistry(uri)
        try:
            rows, source = from_registry(registry, ledger_rows, most), f"MLflow at {registry.server} and the ledger"
        except RegistryUnreachableError as error:
            print(f"{error} Showing the ledger alone.", file=sys.stderr)
    if options.json:
        print(to_json([asdict(row) for row in rows], indent=2))
    else:
        print_rows(rows, f"From {source}. Words by test Dice: see docs/models.md.")
    if options.plot:
        write_atomic(options.plot, draw_history(entries))
        print(f"Wrote {options.plot}.", file=sys.stderr if options.json else None)
    return 0


def print_rows(rows: Sequence[HistoryRow], caption: str) -> None:
    """Print versions as a table, the newest last; without versions a sentence."""
    if not rows:
        print("No version yet: nothing was promoted, and no registry has one.")
        return
    cells = []
    for row in rows:
        scores = [_number(value, ".4f") for value in (row.dice, row.iou, row.loss)]
        sizes = [_number(value, ",d") for value in (row.images, row.parameters)]
        when = row.at.replace("T", " ")[:16]
        cells.append((str(row.version), row.stage, *scores, row.quality, *sizes, row.verdict, when))
    print_table(_COLUMNS, cells, caption=caption)


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the table and the plot."""
    parser.add_argument("--all", action="store_true", help=f"every version, not the newest {NEWEST} only")
    parser.add_argument(
        "--plot", type=own_file(titled(PLOT)), metavar="FILE", help="write the history as a PNG picture"
    )
    parser.add_argument("--models", type=folder, default=FOLDER, metavar="DIR", help="the ledger's folder")
    parser.add_argument("--json", action="store_true", help="print one JSON array instead of the table")


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


COMMAND: Final = Command(
    "Show the versions of the model with their scores: from the ledger, and from MLflow if MLFLOW_TRACKING_URI is set.",
    declare,
    run,
)
