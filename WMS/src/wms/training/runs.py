"""Compares trainings: the folders of runs on this machine, and the runs of the configured MLflow server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wms.errors import ModelNotFoundError, TrackingError
from wms.pictures import draw, plot_line
from wms.registry.mlflow_store import ModelRegistry, RunInfo
from wms.text import told_apart
from wms.training.best import best_metric
from wms.training.tracker import COLUMNS, METRICS_FILE, compare_tables, place_of, read_metrics, split_name

if TYPE_CHECKING:
    import polars as pl

PLOT: Final = "wms runs compare"
"""The title in the file of the curves."""

_TEST: Final = "final_test"
"""What a metric's name at MLflow begins with, instead of the phase test."""


@dataclass(frozen=True)
class RunRow:
    """A training. `where` is "here", "MLflow" or both; scores are None if the run hasn't logged them."""

    run: str
    where: str
    epochs: int | None
    minutes: float | None
    best_val_dice: float | None
    final_test_dice: float | None
    final_test_iou: float | None


@dataclass(frozen=True)
class Best:
    """The best value of a metric in a run, and the epoch of that value."""

    run: str
    value: float
    epoch: int


def run_folders(root: Path) -> list[Path]:
    """The runs below `root` with a metrics file, oldest first; none if `root` is absent."""
    return sorted(path.parent for path in root.glob(f"*/{METRICS_FILE}"))


def read_all(folders: Sequence[Path]) -> tuple[dict[str, pl.DataFrame], list[TrackingError]]:
    """The metrics of each run, by the folder's name as a terminal can show it, and an error for each damaged run."""
    tables, damaged = {}, []
    for name, folder in zip(told_apart((folder.name, str(folder)) for folder in folders), folders, strict=True):
        try:
            tables[name] = read_metrics(folder)
        except TrackingError as error:
            damaged.append(error)
    return tables, damaged


def list_runs(tables: Mapping[str, pl.DataFrame], at_server: Sequence[RunInfo]) -> list[RunRow]:
    """A row for each run with metrics here and for each run that only the server has."""
    known = {run.name for run in at_server}
    rows = []
    for row in compare_tables(tables).to_dicts():
        rows.append(
            RunRow(
                run=row["run"],
                where="here, MLflow" if row["run"] in known else "here",
                epochs=row["epochs"],
                minutes=round(row["wall_time_s"] / 60, 1),
                best_val_dice=row["best_val_dice"],
                final_test_dice=row["final_test_dice"],
                final_test_iou=row["final_test_iou"],
            )
        )
    for run in at_server:
        if run.name not in tables:
            dice, iou = (run.metrics.get(f"{_TEST}_{name}") for name in ("dice", "iou"))
            rows.append(RunRow(run.name, "MLflow", None, None, None, dice, iou))
    return sorted(rows, key=lambda row: row.run)


@dataclass(frozen=True)
class FoundRun:
    """A run with its metrics; `place` is the folder's path, or name and id on the server."""

    name: str
    place: str
    table: pl.DataFrame


def read_runs(
    names: Sequence[str], root: Path, registry: ModelRegistry | None, metrics: Sequence[str]
) -> dict[str, pl.DataFrame]:
    """The metrics of each run by name, or by place where runs share a name; see `read_run`."""
    found = [read_run(name, root, registry, metrics) for name in names]
    labels = told_apart((run.name, run.place) for run in found)
    return {label: run.table for label, run in zip(labels, found, strict=True)}


def read_run(name: str, root: Path, registry: ModelRegistry | None, metrics: Sequence[str]) -> FoundRun:
    """A run with the metrics as `read_metrics` returns them; from a server only `metrics` (val/dice).

    `name` is a folder, a folder's name below `root`, or a run's name or id on the server. Raises ModelNotFoundError for
    an unknown run, TrackingError for damaged metrics, RegistryUnreachableError, RegistryError.
    """
    for folder in (Path(name), root / name):
        if (folder / METRICS_FILE).exists():
            return FoundRun(folder.resolve().name, place_of(folder), read_metrics(folder))
    if registry is None:
        raise ModelNotFoundError(
            f"{root} holds no run {name!r}; `wms runs list` shows what there is. MLflow is asked, too, where "
            "MLFLOW_TRACKING_URI names it."
        )
    found = registry.find_run(name)
    rows = []
    for metric in metrics:
        phase, key = split_name(metric)
        prefix = _TEST if phase == "test" else phase
        for step, value, time in registry.metric_history(found.run_id, f"{prefix}_{key}"):
            rows.append({"step": step, "epoch": step, "phase": phase, "metric": key, "value": value, "time": time})
    import polars as pl

    return FoundRun(found.name, f"{found.name} ({found.run_id})", pl.DataFrame(rows, schema=COLUMNS))


def rank(tables: Mapping[str, pl.DataFrame], metric: str, *, maximize: bool) -> tuple[list[Best], list[str]]:
    """The runs by the best value of `metric`, best first, and a sentence for each run without that metric.

    Raises TrackingError for a metric that isn't written as phase/name.
    """
    phase, name = split_name(metric)
    found, lacking = [], []
    for run, table in tables.items():
        try:
            best = best_metric(table, name, phase, maximize)
        except TrackingError as error:
            lacking.append(f"{run}: {error}")
        else:
            found.append(Best(run, best.value, best.epoch))
    return sorted(found, key=lambda one: one.value, reverse=maximize), lacking


def draw_comparison(tables: Mapping[str, pl.DataFrame], metrics: Sequence[str]) -> bytes:
    """A PNG picture: for each metric a field with a line for each run, against the epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * len(metrics), 4.2), dpi=120, layout="constrained")
    for axes, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
        phase, name = split_name(metric)
        for run, table in tables.items():
            line = table.filter(phase=phase, metric=name).sort("epoch")
            plot_line(axes, line["epoch"].to_list(), line["value"].to_list(), label=run)
        axes.set_title(metric)
        axes.set_xlabel("Epoch")
        axes.grid(alpha=0.4)
        axes.legend(fontsize=7, frameon=False)
    return draw(figure, title=PLOT)
