"""The metrics file survives kills, resumes and full disks, and its tables tell what was logged."""

from __future__ import annotations

import errno
import math
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wms.errors import DiskFullError, TrackingError, UnwritableError
from wms.training.best import BestMetric
from wms.training.tracker import (
    METRICS_FILE,
    ExperimentTracker,
    MetricRecord,
    compare_runs,
    read_metrics,
    read_records,
)

LOG_FOREVER = """
import sys
from pathlib import Path
from wms.training.tracker import ExperimentTracker
tracker = ExperimentTracker(Path(sys.argv[1]))
for epoch in range(10**9):
    tracker.log("train", {f"metric_{i}": epoch + i / 7 for i in range(20)}, step=epoch, epoch=epoch)
    if epoch == 200:
        print("going", flush=True)
"""


class Recorder:
    """A sink that keeps what it's told."""

    def __init__(self) -> None:
        self.records: list[MetricRecord] = []
        self.closed_with: float | None = None

    def push(self, records: Any) -> None:
        self.records.extend(records)

    def close(self, timeout_s: float) -> None:
        self.closed_with = timeout_s


def log_epochs(run_dir: Path, dice: list[float]) -> None:
    with ExperimentTracker(run_dir) as tracker:
        for epoch, value in enumerate(dice):
            tracker.log("train", {"loss": 1 - value}, step=epoch * 10, epoch=epoch)
            tracker.log("val", {"dice": value, "iou": value / 2}, step=epoch * 10, epoch=epoch)


def lines(run_dir: Path) -> list[bytes]:
    return (run_dir / METRICS_FILE).read_bytes().splitlines(keepends=True)


def test_what_is_logged_is_read_back(tmp_path: Path) -> None:
    with ExperimentTracker(tmp_path / "run") as tracker:
        tracker.log("train", {"loss": 0.5, "dice": 0.25}, step=3, epoch=1)
        tracker.log("val", {"dice": 0.75}, step=3, epoch=1)
        table = tracker.get_metrics()
        assert table.columns == ["step", "epoch", "phase", "metric", "value", "time"]
        assert table.drop("time").rows() == [
            (3, 1, "train", "loss", 0.5),
            (3, 1, "train", "dice", 0.25),
            (3, 1, "val", "dice", 0.75),
        ]
        assert tracker.get_metrics("val")["value"].to_list() == [0.75]
        assert tracker.get_metrics(metric="dice")["value"].to_list() == [0.25, 0.75]
    assert read_metrics(tmp_path / "run").equals(read_metrics(tmp_path / "run" / METRICS_FILE))


@given(value=st.floats(), name=st.text(min_size=1))
def test_a_record_survives_its_line(value: float, name: str) -> None:
    record = MetricRecord(1, 2, "val", name, value, 1.5)
    line = record.to_line()
    back = MetricRecord.from_line(line)
    assert line.count(b"\n") == 1
    assert back.metric == name
    assert back.value == value or (math.isnan(back.value) and math.isnan(value))


def test_values_that_json_has_no_number_for_are_strings(tmp_path: Path) -> None:
    with ExperimentTracker(tmp_path) as tracker:
        tracker.log("val", {"a": math.nan, "b": math.inf, "c": -math.inf}, step=0, epoch=0)
    assert [line[line.index(b'"value"') : line.index(b', "time"')] for line in lines(tmp_path)] == [
        b'"value": "nan"',
        b'"value": "inf"',
        b'"value": "-inf"',
    ]
    values = read_metrics(tmp_path)["value"].to_list()
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, -math.inf]


def test_each_call_has_its_own_millisecond(tmp_path: Path) -> None:
    with ExperimentTracker(tmp_path) as tracker:
        for step in range(50):
            tracker.log("train", {"loss": 1.0}, step=step, epoch=0)
    times = [round(time * 1000) for time in read_metrics(tmp_path)["time"]]
    assert len(set(times)) == 50
    assert times == sorted(times)


def test_the_best_is_never_nan_and_of_equals_the_first(tmp_path: Path) -> None:
    log_epochs(tmp_path, [0.1, math.nan, 0.9, 0.9, 0.3])
    with ExperimentTracker(tmp_path) as tracker:
        assert tracker.get_best_metric("dice") == BestMetric(value=0.9, epoch=2, step=20)
        assert tracker.get_best_metric("dice", maximize=False) == BestMetric(value=0.1, epoch=0, step=0)
        tracker.log("val", {"empty": math.nan}, step=0, epoch=0)
        with pytest.raises(TrackingError, match="never a finite number"):
            tracker.get_best_metric("empty")


def test_an_unknown_metric_gets_the_nearest_names(tmp_path: Path) -> None:
    log_epochs(tmp_path, [0.1])
    with ExperimentTracker(tmp_path) as tracker:
        with pytest.raises(TrackingError, match="no metric val/dise; the nearest are val/dice"):
            tracker.get_best_metric("dise")
        with pytest.raises(ValueError, match="unknown phase"):
            tracker.log("validation", {"dice": 1.0}, step=0, epoch=0)  # type: ignore[arg-type]


@pytest.mark.parametrize("tail", [b'{"step": 3, "epo', b"\0" * 40, b'{"step": 3}\n', b"garbage\n"])
def test_a_torn_last_line_is_cut_off(tmp_path: Path, tail: bytes) -> None:
    log_epochs(tmp_path, [0.1, 0.2])
    whole = (tmp_path / METRICS_FILE).read_bytes()
    with (tmp_path / METRICS_FILE).open("ab") as file:
        file.write(tail)
    assert read_metrics(tmp_path).height == 6
    with ExperimentTracker(tmp_path) as tracker:
        assert tracker.path.read_bytes() == whole
        tracker.log("test", {"dice": 0.5}, step=20, epoch=1)
    assert read_metrics(tmp_path).height == 7


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    log_epochs(tmp_path, [0.1, 0.2])
    damaged = lines(tmp_path)
    damaged[3] = b'{"step": 1, "epo\n'
    (tmp_path / METRICS_FILE).write_bytes(b"".join(damaged))
    with pytest.raises(TrackingError, match=r"metrics\.jsonl, line 4: "):
        ExperimentTracker(tmp_path)
    with pytest.raises(TrackingError, match=r"metrics\.jsonl, line 4: "):
        read_metrics(tmp_path)


def test_a_sigkill_at_any_point_loses_no_whole_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOG_FOREVER, str(tmp_path)]
    for _ in range(2):  # The second goes on in the first one's file.
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, env={"PYTHONPATH": str(Path(__file__).parents[1] / "src")}
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"going\n"
            process.send_signal(signal.SIGKILL)
        with ExperimentTracker(tmp_path):
            table = read_metrics(tmp_path)
        assert table.height == len(lines(tmp_path)) >= 200 * 20
        assert table.unique(subset=["metric", "epoch"]).height == table.height


def test_a_resumed_run_repeats_nothing(tmp_path: Path) -> None:
    log_epochs(tmp_path, [0.1, math.nan, 0.3])
    before = (tmp_path / METRICS_FILE).read_bytes()
    log_epochs(tmp_path, [0.1, math.nan, 0.3])
    assert (tmp_path / METRICS_FILE).read_bytes() == before
    log_epochs(tmp_path, [0.1, math.nan, 0.5])  # another value for the same moment
    assert (tmp_path / METRICS_FILE).read_bytes().startswith(before)
    assert len(lines(tmp_path)) == 9 + 3
    table = read_metrics(tmp_path)
    assert table.height == 9
    assert [row[4] for row in table.rows() if row[2:4] == ("val", "dice")][-1] == 0.5


def test_the_sink_is_told_of_what_is_on_disk(tmp_path: Path) -> None:
    sink = Recorder()
    with ExperimentTracker(tmp_path, sink) as tracker:
        tracker.log("val", {"dice": 0.5, "iou": 0.3}, step=0, epoch=0)
        tracker.log("val", {"dice": 0.5, "iou": 0.4}, step=0, epoch=0)
    assert sink.records == read_records(tmp_path / METRICS_FILE)[0]
    assert [record.value for record in sink.records] == [0.5, 0.3, 0.4]
    assert sink.closed_with == 5.0


def test_a_disk_that_fills_up_leaves_whole_lines(tmp_path: Path) -> None:
    tracker = ExperimentTracker(tmp_path)
    tracker.log("val", {"dice": 0.5}, step=0, epoch=0)
    before = tracker.path.read_bytes()
    real = tracker._file

    class Full:
        """Takes a part of what is written, then has no space left, as a real disk does."""

        taken = False

        def write(self, data: bytes) -> int:
            if self.taken:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.taken = True
            return real.write(data[:7])

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    tracker._file = Full()  # type: ignore[assignment]
    with pytest.raises(DiskFullError, match=r"metrics\.jsonl"):
        tracker.log("val", {"dice": 0.6}, step=1, epoch=1)
    assert tracker.path.read_bytes() == before
    tracker._file = real
    tracker.log("val", {"dice": 0.6}, step=1, epoch=1)
    assert tracker.get_metrics()["value"].to_list() == [0.5, 0.6]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableError, match="file"):
        ExperimentTracker(tmp_path / "file" / "run")


def test_runs_are_compared_in_one_table(tmp_path: Path) -> None:
    log_epochs(tmp_path / "a", [0.1, 0.8, 0.4])
    log_epochs(tmp_path / "b", [math.nan, math.nan])
    with ExperimentTracker(tmp_path / "a") as tracker:
        tracker.log("test", {"dice": 0.7, "iou": 0.6}, step=20, epoch=2)
    rows = compare_runs([tmp_path / "a", tmp_path / "b"]).to_dicts()
    assert 0 <= rows[0].pop("wall_time_s") < 60
    assert rows[0] == {
        "run": "a",
        "epochs": 3,
        "best_val_dice": 0.8,
        "best_val_dice_epoch": 1,
        "best_val_iou": 0.4,
        "best_val_iou_epoch": 1,
        "final_test_dice": 0.7,
        "final_test_iou": 0.6,
    }
    assert rows[1]["epochs"] == 2
    assert rows[1]["best_val_dice"] is rows[1]["best_val_dice_epoch"] is rows[1]["final_test_dice"] is None
    loss = compare_runs([tmp_path / "a"], ["train/loss"]).to_dicts()[0]
    assert (loss["best_train_loss"], loss["best_train_loss_epoch"]) == (pytest.approx(0.2), 1)


def test_a_comparison_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"metrics\.jsonl doesn't exist"):
        compare_runs([tmp_path])
    log_epochs(tmp_path, [0.1])
    with pytest.raises(TrackingError, match="'dice' names no metric"):
        compare_runs([tmp_path], ["dice"])
