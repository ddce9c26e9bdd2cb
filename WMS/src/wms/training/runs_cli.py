"""`wms runs list`, `best` and `compare`: trainings on this machine and on the configured MLflow server."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from wms.command import Command, folder, own_file
from wms.errors import ModelNotFoundError, RegistryUnreachableError, TrackingError
from wms.files import write_atomic
from wms.json_text import to_json
from wms.paths import RUNS
from wms.pictures import titled
from wms.registry.mlflow_store import ModelRegistry
from wms.tables import Column, print_table
from wms.training.best import logged
from wms.training.runs import PLOT, draw_comparison, list_runs, rank, read_all, read_runs, run_folders
from wms.training.tracker import COMPARED, compare_tables

if TYPE_CHECKING:
    import polars as pl

NEWEST: Final = 20
"""Runs shown without --all."""


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=folder, default=RUNS, metavar="DIR", help="where run folders are")
    parser.add_argument("--json", action="store_true", help="print one JSON array instead of the table")


def _of_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help=f"every run, not the newest {NEWEST} only")
    _add_common(parser)


def _of_best(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="RUN", help="only these runs (default: all on this machine)")
    parser.add_argument("--metric", default="val/dice", help="as phase/name (default: %(default)s)")
    parser.add_argument("--smallest", action="store_true", help="the smallest value is the best, as of a loss")
    _add_common(parser)


def _of_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="RUN", help="folders, names of runs, or ids at MLflow")
    parser.add_argument(
        "--metrics", type=lambda text: text.split(","), default=list(COMPARED), metavar="A,B", help="as phase/name, "
        f"with commas between (default: {','.join(COMPARED)})"
    )  # fmt: skip
    parser.add_argument("--plot", type=own_file(titled(PLOT)), metavar="FILE", help="write the curves as a PNG picture")
    _add_common(parser)


def run_list(options: argparse.Namespace) -> int:
    """Print the runs, newest last; returns 0, or TrackingError's code if the metrics of a run are damaged.

    A line on standard error names each damaged run. If the server doesn't answer, another line says so, and only this
    machine's runs are shown. Raises RegistryError.
    """
    folders, at_server = run_folders(options.runs), []
    if registry := ModelRegistry.if_named():
        try:
            at_server = registry.newest_runs(1000 if options.all else NEWEST)
        except RegistryUnreachableError as error:
            print(f"{error} Showing this machine's runs alone.", file=sys.stderr)
    tables, damaged = read_all(folders if options.all else folders[-NEWEST:])
    rows = list_runs(tables, at_server)
    none = f"No run in {options.runs} yet; `wms train` begins one."
    _print([asdict(row) for row in (rows if options.all else rows[-NEWEST:])], none, as_json=options.json)
    return _name_damaged(damaged)


def run_best(options: argparse.Namespace) -> int:
    """Print the runs by a metric, the best first; returns 0, or TrackingError's code as `run_list` does.

    Raises TrackingError for damaged metrics of a run that was named, ModelNotFoundError.
    """
    damaged: Sequence[TrackingError] = ()
    if options.names:
        tables = _read(options, options.names, [options.metric])
    else:
        tables, damaged = read_all(run_folders(options.runs))
    found, lacking = rank(tables, options.metric, maximize=not options.smallest)
    for sentence in lacking:
        print(sentence, file=sys.stderr)
    none = _none_best(options, tables)
    if not found and not damaged:  # a mistyped metric must not look like an answer
        raise ModelNotFoundError(none)
    _print([asdict(one) for one in found], none, as_json=options.json)
    return _name_damaged(damaged)


def run_compare(options: argparse.Namespace) -> int:
    """Print a row for each run, and draw the curves; returns 0. Raises TrackingError, ModelNotFoundError."""
    tables = _read(options, options.names, options.metrics)
    _print(compare_tables(tables, options.metrics).to_dicts(), "", as_json=options.json)
    if options.plot:
        write_atomic(options.plot, draw_comparison(tables, options.metrics))
        print(f"Wrote {options.plot}.", file=sys.stderr if options.json else None)
    return 0


def _read(options: argparse.Namespace, names: Sequence[str], metrics: Sequence[str]) -> dict[str, pl.DataFrame]:
    registry = ModelRegistry.if_named()
    return read_runs(names, options.runs, registry, metrics)


def _none_best(options: argparse.Namespace, tables: Mapping[str, pl.DataFrame]) -> str:
    """The sentence about runs of which none has a best value."""
    known = logged(*tables.values())
    if options.metric in known:
        return f"No run in {options.runs} has a finite value of {options.metric}, so none is the best."
    other = f"name another one with --metric: {', '.join(known)}" if known else "nothing is logged there yet"
    return f"No run in {options.runs} has logged {options.metric}; {other}."


def _name_damaged(damaged: Sequence[TrackingError]) -> int:
    """Name each damaged run on standard error; returns the exit code of the first, 0 without any."""
    for error in damaged:
        print(f"error: {error}", file=sys.stderr)
    return damaged[0].exit_code if damaged else 0


def _print(rows: Sequence[Mapping[str, Any]], otherwise: str, *, as_json: bool) -> None:
    if as_json:
        print(to_json(rows, indent=2))
    elif not rows:
        print(otherwise)
    else:
        columns = [Column(name.replace("_", " "), justify="left" if name in ("run", "where") else "right",
                          later=place > 4) for place, name in enumerate(rows[0])]  # fmt: skip
        print_table(columns, [[_cell(name, value) for name, value in row.items()] for row in rows])


def _cell(column: str, value: object) -> str:
    if value is None:
        return "-"
    digits = 1 if column in ("minutes", "wall_time_s") else 4
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


LIST: Final = Command(
    "List the trainings on this machine, and those on the MLflow server that MLFLOW_TRACKING_URI names.",
    _of_list,
    run_list,
)
BEST: Final = Command("Show which run reached the best value of a metric, and in which epoch.", _of_best, run_best)
COMPARE: Final = Command("Put runs side by side in a table, their curves in a picture.", _of_compare, run_compare)
