"""A run's metrics: a JSON object per line in `metrics.jsonl`, and the tables read from that file.

The file is the record; MLflow, the report and the comparison read the file. The file survives a kill at any point: a
single write appends a line, and opening the file removes a torn last line.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, Self, get_args

from wms.errors import TrackingError, from_os_error
from wms.files import parse_json
from wms.formats import refuse_newer
from wms.json_text import to_json
from wms.metrics import FINAL
from wms.regular import is_present, open_regular, read_regular
from wms.text import escaped, told_apart
from wms.training.best import BestMetric, best_metric

if TYPE_CHECKING:
    import polars as pl

METRICS_FILE = "metrics.jsonl"
Phase = Literal["train", "val", "test", "system"]
PHASES: tuple[Phase, ...] = get_args(Phase)
COMPARED = ("val/dice", "val/iou", "test/dice", "test/iou")

COLUMNS = {
    "step": int,
    "epoch": int,
    "phase": str,
    "metric": str,
    "value": float,
    "time": float,
}
_KEY = ["phase", "metric", "step", "epoch"]


@dataclass(frozen=True)
class MetricRecord:
    """A value of a metric. `time` is in unix seconds, to the millisecond."""

    step: int
    epoch: int
    phase: str
    metric: str
    value: float
    time: float

    @property
    def key(self) -> tuple[str, str, int, int]:
        return (self.phase, self.metric, self.step, self.epoch)

    def to_line(self) -> bytes:
        """The record as a line of JSON; NaN and infinities, which JSON has no numbers for, as strings."""
        content = asdict(self)
        if not math.isfinite(self.value):
            content["value"] = str(self.value)
        return to_json(content).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> MetricRecord:
        """The record of a line; raises ValueError if the line isn't a record."""
        content = parse_json(line)
        if not isinstance(content, dict) or not content.keys() >= {field.name for field in fields(cls)}:
            raise ValueError("not a metric record")
        refuse_newer(content, "this line", TrackingError)
        try:
            places = int(content["step"]), int(content["epoch"])
            names = str(content["phase"]), str(content["metric"])
            record = cls(*places, *names, float(content["value"]), float(content["time"]))
        except (TypeError, OverflowError) as error:
            raise ValueError(str(error)) from error
        impossible = max(map(abs, places)) >= 2**63 or not math.isfinite(record.time)
        if impossible or any(escaped(name) != name for name in names):
            raise ValueError("a number or a name that no column of a table holds")
        return record


class MetricSink(Protocol):
    """A receiver of each record after the record is in the file. A sink must not block or raise."""

    def push(self, records: Sequence[MetricRecord]) -> None: ...

    def close(self, timeout_s: float) -> None: ...


def read_records(path: Path, offset: int = 0, limit: int | None = None) -> tuple[list[MetricRecord], int]:
    """Read whole records of a metrics file, from byte `offset` on, at most `limit` of them.

    Returns the records and the offset behind the last. A torn last line is left out: its writer is still at work, or
    was killed. An absent file holds no records. Raises TrackingError (line number) if an earlier line is damaged.
    """
    records: list[MetricRecord] = []
    if not is_present(path):
        return records, offset
    with open_regular(path) as file:
        file.seek(offset)
        while limit is None or len(records) < limit:
            line = file.readline()
            if not line.endswith(b"\n"):
                break
            try:
                records.append(MetricRecord.from_line(line))
            except TrackingError as error:
                raise TrackingError(f"{path}, line {_line_at(path, offset)}: {error}") from None
            except ValueError:
                if not file.readline():
                    break
                raise TrackingError(
                    f"{path}, line {_line_at(path, offset)}: this is not a metric record; restore the file from a "
                    "copy, or remove that line."
                ) from None
            offset += len(line)
    return records, offset


def _line_at(path: Path, offset: int) -> int:
    return read_regular(path)[:offset].count(b"\n") + 1


def read_metrics(path: Path) -> pl.DataFrame:
    """The metrics of a run, read from the run's folder or from metrics.jsonl, in the order of logging.

    Returns the columns step, epoch, phase, metric, value and time; of several values for the same phase, metric, step
    and epoch, the last. Raises TrackingError if the file is absent or damaged.
    """
    file = path / METRICS_FILE if path.is_dir() else path
    if not file.exists():
        raise TrackingError(f"{file} doesn't exist; name the folder of a run that has begun.")
    try:
        records, _ = read_records(file)
    except OSError as error:
        raise TrackingError(f"Can't read {file}: {error.strerror}; restore it, or move the run away.") from error
    import polars as pl

    table = pl.DataFrame([asdict(record) for record in records], schema=COLUMNS)
    return table.unique(subset=_KEY, keep="last", maintain_order=True)


class ExperimentTracker:
    """Appends a run's metrics to `run_dir`/metrics.jsonl and tells a sink of them.

    Raises TrackingError for a damaged file, and DiskFullError or UnwritableError if the folder can't be written.

    >>> tracker.log("val", {"dice": 0.91}, step=120, epoch=3)  # doctest: +SKIP
    >>> tracker.get_best_metric("dice").value  # doctest: +SKIP
    0.91
    """

    def __init__(self, run_dir: Path, sink: MetricSink | None = None) -> None:
        self.path = run_dir / METRICS_FILE
        self._sink = sink
        try:
            run_dir.mkdir(parents=True, exist_ok=True)
            records, end = read_records(self.path)
            # Unbuffered: a later write must not emit the remains of a failed write.
            self._file = self.path.open("ab", buffering=0)
            self._file.truncate(end)
        except OSError as error:
            raise from_os_error(error, self.path) from error
        self._known = {record.key: record.value for record in records}
        self._last_ms = max((round(record.time * 1000) for record in records), default=0)

    def log(self, phase: Phase, metrics: Mapping[str, float], *, step: int, epoch: int) -> None:
        """Append the metrics of a step in a single write.

        A value that the file has for the same phase, metric, step and epoch, as in a resumed run, is skipped. Raises
        ValueError for an unknown phase or an impossible name; after DiskFullError or UnwritableError the file keeps
        its previous end.
        """
        if phase not in PHASES:
            raise ValueError(f"unknown phase {phase!r}, not one of {', '.join(PHASES)}")
        if bad := [name for name in metrics if escaped(name) != name]:
            raise ValueError(f"the metric {bad[0]!r} holds a character that UTF-8 can't write")
        # No two calls share a millisecond: MLflow takes equal rows at one timestamp for the same row.
        now_ms = max(round(time.time() * 1000), self._last_ms + 1)
        records = [
            MetricRecord(int(step), int(epoch), phase, name, float(value), now_ms / 1000)
            for name, value in metrics.items()
        ]
        records = [record for record in records if not self._is_known(record)]
        if not records:
            return
        self._append(b"".join(record.to_line() for record in records))
        self._last_ms = now_ms
        self._known.update((record.key, record.value) for record in records)
        if self._sink is not None:
            self._sink.push(records)

    def get_metrics(self, phase: Phase | None = None, metric: str | None = None) -> pl.DataFrame:
        """The metrics so far as `read_metrics` returns them, filtered by phase and name if given."""
        table = read_metrics(self.path)
        if phase is not None:
            table = table.filter(phase=phase)
        if metric is not None:
            table = table.filter(metric=metric)
        return table

    def get_best_metric(self, name: str, phase: Phase = "val", maximize: bool = True) -> BestMetric:
        """The greatest (or smallest) value of a metric; of equal values the first.

        NaN and infinities are never the best. Raises TrackingError without any finite value.
        """
        return best_metric(read_metrics(self.path), name, phase, maximize)

    def close(self, timeout_s: float = 5.0) -> None:
        """Close the file, then the sink, which may take `timeout_s` to pass on queued records."""
        self._file.close()
        if self._sink is not None:
            self._sink.close(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _is_known(self, record: MetricRecord) -> bool:
        known = self._known.get(record.key)
        if known is None:
            return False
        return known == record.value or (math.isnan(known) and math.isnan(record.value))

    def _append(self, data: bytes) -> None:
        start = self._file.seek(0, 2)
        try:
            written = 0
            while written < len(data):  # A disk that fills up takes a part first and fails on the rest.
                written += self._file.write(data[written:])
        except OSError as error:
            self._file.truncate(start)
            raise from_os_error(error, self.path) from error


def compare_runs(run_dirs: Sequence[Path], metrics: Sequence[str] = COMPARED) -> pl.DataFrame:
    """A row per run: the best scores and the duration.

    `metrics` are given as phase/name. The columns are run, epochs, wall_time_s (from the first to the last record) and
    for each metric: of phase test `final_test_<name>`, of others `best_<phase>_<name>` and `best_<phase>_<name>_epoch`;
    the best loss is the smallest, the best of any other metric the greatest. Metrics that a run hasn't logged are null.
    Runs whose folders share a name are told apart by their paths.
    Raises TrackingError for a folder without metrics or an impossible metric.
    """
    names = told_apart((run_dir.resolve().name, place_of(run_dir)) for run_dir in run_dirs)
    tables = {name: read_metrics(run_dir) for name, run_dir in zip(names, run_dirs, strict=True)}
    return compare_tables(tables, metrics)


def place_of(run_dir: Path) -> str:
    """The path of a run's folder that every spelling shares: from the working directory where the run lies below."""
    full = run_dir.resolve()
    return str(full.relative_to(Path.cwd()) if full.is_relative_to(Path.cwd()) else full)


def compare_tables(tables: Mapping[str, pl.DataFrame], metrics: Sequence[str] = COMPARED) -> pl.DataFrame:
    """As `compare_runs`, for tables from `read_metrics`, keyed by run name."""
    rows = [_compared(name, table, [split_name(metric) for metric in metrics]) for name, table in tables.items()]
    import polars as pl

    return pl.DataFrame(rows, infer_schema_length=None)


def split_name(name: str) -> tuple[Phase, str]:
    """The phase and the metric of a name such as val/dice. Raises TrackingError for another form."""
    for phase in PHASES:
        if name.startswith(f"{phase}/") and name != f"{phase}/":
            return phase, name.removeprefix(f"{phase}/")
    raise TrackingError(f"{name!r} names no metric; write it as phase/name, such as val/dice.")


def _compared(run: str, table: pl.DataFrame, metrics: Sequence[tuple[Phase, str]]) -> dict[str, str | float | None]:
    times = table["time"].to_list()
    row: dict[str, str | float | None] = {
        "run": run,
        "epochs": table.filter(table["phase"].is_in(["train", "val"]))["epoch"].n_unique(),
        "wall_time_s": max(times) - min(times) if times else 0.0,
    }
    for phase, name in metrics:
        values = table.filter(phase=phase, metric=name)["value"]
        if phase == "test":
            row[f"{FINAL}{name}"] = values[-1] if len(values) else None
            continue
        found = best_metric(table, name, phase, "loss" not in name) if values.is_finite().any() else None
        row[f"best_{phase}_{name}"] = found.value if found else None
        row[f"best_{phase}_{name}_epoch"] = found.epoch if found else None
    return row
