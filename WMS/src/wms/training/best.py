"""The best value of a metric in a table; NaN and infinities, which tell of a divergence, are never best."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wms.errors import TrackingError

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class BestMetric:
    """The best value of a metric, with step and epoch."""

    value: float
    epoch: int
    step: int


def best_metric(table: pl.DataFrame, name: str, phase: str, maximize: bool = True) -> BestMetric:
    """The best finite value of a metric in a table of `read_metrics`; of equal values the first.

    Raises TrackingError, naming the nearest metrics, if the metric was never logged or never a finite number.
    """
    rows = table.filter(phase=phase, metric=name)
    if rows.is_empty():
        raise TrackingError(_unknown(table, name, phase))
    rows = rows.filter(rows["value"].is_finite())
    if rows.is_empty():
        raise TrackingError(f"The metric {phase}/{name} was never a finite number in this run, so none is the best.")
    found = rows["value"].arg_max() if maximize else rows["value"].arg_min()
    row = rows.row(found or 0, named=True)
    return BestMetric(value=row["value"], epoch=row["epoch"], step=row["step"])


def logged(*tables: pl.DataFrame) -> list[str]:
    """The metrics of some tables as phase/name, sorted."""
    return sorted({f"{phase}/{name}" for table in tables for phase, name in table["phase", "metric"].iter_rows()})


def _unknown(table: pl.DataFrame, name: str, phase: str) -> str:
    valid = logged(table)
    near = difflib.get_close_matches(f"{phase}/{name}", valid, n=3, cutoff=0.4) or valid
    hint = f"the nearest are {', '.join(near)}" if near else "nothing has been logged yet"
    return f"This run has no metric {phase}/{name}; {hint}."
