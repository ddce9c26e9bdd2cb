"""What the MLflow tests share: a run that logs epochs, and what the server has of it."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from servers import MlflowServer

from wms.training.mlflow_sync import MlflowSync
from wms.training.tracker import METRICS_FILE, ExperimentTracker, read_records

PATIENCE_S = 90.0
LARGEST = sys.float_info.max  # what MLflow stores for infinity: SQL has none


def sync_to(uri: str, run_dir: Path, **settings: Any) -> MlflowSync:
    plain = {"params": {"lr": "0.002"}, "tags": {"wms.git": "abc"}, "longest_wait_s": 1.0}
    return MlflowSync(run_dir, uri, "test-experiment", run_dir.name, **{**plain, **settings})


def log_epochs(tracker: ExperimentTracker, epochs: range) -> None:
    for epoch in epochs:
        tracker.log("system", {"cpu": 50.0}, step=epoch * 10, epoch=epoch)
        tracker.log("train", {"loss": 1 / (epoch + 1), "dice": 0.5}, step=epoch * 10 + 9, epoch=epoch)
        tracker.log("val", {"loss": math.nan, "dice": 0.5}, step=epoch * 10 + 9, epoch=epoch)


def client(server: MlflowServer) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=server.uri)


def runs_named(server: MlflowServer, name: str) -> list[Any]:
    experiment = client(server).get_experiment_by_name("test-experiment")
    return list(client(server).search_runs([experiment.experiment_id], f"tags.`wms.run_name` = '{name}'"))


def stored(server: MlflowServer, run_id: str) -> Counter[tuple[str, str, int, int]]:
    """Each row that the server has of a run's metrics, and how often."""
    run = client(server).get_run(run_id)
    return Counter(
        (row.key, str(row.value), row.timestamp, row.step)
        for name in run.data.metrics
        for row in client(server).get_metric_history(run_id, name)
    )


def logged(run_dir: Path) -> Counter[tuple[str, str, int, int]]:
    """The rows that the server should have, after the run's own record."""
    prefix = {"train": "train", "val": "val", "test": "final_test", "system": "system"}
    return Counter(
        (
            f"{prefix[record.phase]}_{record.metric}",
            str(math.copysign(LARGEST, record.value) if math.isinf(record.value) else record.value),
            round(record.time * 1000),
            record.step if record.phase == "system" else record.epoch,
        )
        for record in read_records(run_dir / METRICS_FILE)[0]
    )


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it didn't happen in time"
        time.sleep(0.05)


def assert_arrived(server: MlflowServer, run_dir: Path, run_id: str | None) -> None:
    """The server has one run of that name, with each record once."""
    assert [run.info.run_id for run in runs_named(server, run_dir.name)] == [run_id]
    rows = stored(server, str(run_id))
    assert rows == logged(run_dir)
    assert set(rows.values()) == {1}
