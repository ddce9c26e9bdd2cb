"""`wms runs`: trainings of this machine and of an MLflow server side by side."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow_runs import PATIENCE_S, sync_to
from PIL import Image
from servers import MlflowServer, free_port, mlflow_server

from wms.command import Command
from wms.errors import ModelNotFoundError, TrackingError, run_main
from wms.paths import RUNS
from wms.training.runs_cli import BEST, COMPARE, LIST
from wms.training.tracker import METRICS_FILE, ExperimentTracker


def log(folder: Path, dice: list[float], test: float | None = None) -> Path:
    """A run whose validation Dice went like this, and whose test Dice is `test`."""
    with ExperimentTracker(folder) as tracker:
        for epoch, value in enumerate(dice):
            tracker.log("val", {"dice": value, "loss": 1 - value}, step=10 * epoch, epoch=epoch)
        if test is not None:
            tracker.log("test", {"dice": test, "iou": test / (2 - test)}, step=99, epoch=len(dice))
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as running:
        yield running


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two runs and something else, and no server."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    log(tmp_path / "runs" / "run_a", [0.2, 0.8, 0.5], 0.7)
    log(tmp_path / "runs" / "run_b", [0.9, 0.1])
    (tmp_path / "runs" / "manifests").mkdir()
    return tmp_path / "runs"


def said(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return rows


def test_the_runs_here_are_listed(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert LIST(["--runs", str(runs), "--json"]) == 0
    one, two = said(capsys)
    assert (one["run"], one["where"], one["epochs"]) == ("run_a", "here", 3)
    assert (one["best_val_dice"], one["final_test_dice"]) == (0.8, 0.7)
    assert (two["run"], two["final_test_dice"]) == ("run_b", None)
    assert LIST(["--runs", str(runs)]) == 0
    table = capsys.readouterr().out
    assert "run_a" in table and "0.8000" in table
    assert LIST(["--runs", str(runs / "manifests")]) == 0
    assert "`wms train` begins one" in capsys.readouterr().out


def test_the_best_comes_first_and_a_reader_changes_nothing(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = runs / "run_b" / METRICS_FILE
    with file.open("ab") as unfinished:  # a training is at it, and has written half a line
        unfinished.write(b'{"step": 20, "epo')
    before = file.read_bytes()
    assert BEST(["--runs", str(runs), "--json"]) == 0
    assert said(capsys) == [
        {"run": "run_b", "value": 0.9, "epoch": 0},
        {"run": "run_a", "value": 0.8, "epoch": 1},
    ]
    assert BEST(["--runs", str(runs), "--metric", "val/loss", "--smallest", "--json", "run_a"]) == 0
    assert said(capsys) == [{"run": "run_a", "value": pytest.approx(0.2), "epoch": 1}]
    assert BEST(["--runs", str(runs), "--metric", "test/dice", "--json"]) == 0
    out, err = capsys.readouterr()
    assert [row["run"] for row in json.loads(out)] == ["run_a"]
    assert err.startswith("run_b: This run has no metric test/dice")
    assert file.read_bytes() == before


def test_runs_are_compared_and_drawn(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plot = tmp_path / "runs.png"
    words = ["run_a", str(runs / "run_b"), "--runs", str(runs), "--metrics", "val/dice,val/loss", "--json"]
    assert COMPARE([*words, "--plot", str(plot)]) == 0
    one, two = said(capsys)
    assert (one["best_val_dice_epoch"], two["best_val_loss"]) == (1, pytest.approx(0.1))
    with Image.open(plot) as picture:
        assert picture.format == "PNG" and picture.width > 2 * picture.height


def test_mistakes(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(COMPARE, ["run_c", "--runs", str(runs)]) == ModelNotFoundError.exit_code
    assert "holds no run 'run_c'; `wms runs list`" in capsys.readouterr().err
    assert run_main(BEST, ["--runs", str(runs), "--metric", "dice"]) == TrackingError.exit_code
    assert "write it as phase/name" in capsys.readouterr().err


def test_runs_of_a_server_stand_beside_those_here(
    server: MlflowServer,
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "elsewhere" / "run_far"
    sync = sync_to(server.uri, folder)
    with ExperimentTracker(folder, sync) as tracker:
        for epoch, value in enumerate((0.3, 0.6, 0.4)):
            tracker.log("val", {"dice": value}, step=epoch, epoch=epoch)
        tracker.log("test", {"dice": 0.55, "iou": 0.38}, step=9, epoch=2)
        assert sync.finish("FINISHED", PATIENCE_S).complete
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    assert LIST(["--runs", str(runs), "--all", "--json"]) == 0
    (far,) = [row for row in said(capsys) if row["run"] == "run_far"]
    assert (far["where"], far["final_test_dice"], far["epochs"]) == ("MLflow", 0.55, None)
    assert COMPARE(["run_a", "run_far", "--runs", str(runs), "--metrics", "val/dice,test/dice", "--json"]) == 0
    row = said(capsys)[1]
    assert (row["run"], row["epochs"], row["best_val_dice"], row["best_val_dice_epoch"]) == ("run_far", 3, 0.6, 1)
    assert row["final_test_dice"] == 0.55


def test_a_silent_server_leaves_the_runs_here(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("WMS_MLFLOW_TIMEOUT", "2")
    assert LIST(["--runs", str(runs), "--json"]) == 0
    out, err = capsys.readouterr()
    assert len(json.loads(out)) == 2
    assert "Showing this machine's runs alone." in err


RECORD = '"epoch": 0, "phase": "val", "metric": "dice", "value": 1, "time": 1'
DAMAGES = {
    "a name that UTF-8 can't write": '{"step": 1, "epoch": 0, "phase": "val", "metric": "\\ud800", '
    '"value": 1, "time": 1}\n{}\n',
    "a phase that UTF-8 can't write": '{"step": 1, "epoch": 0, "phase": "\\ud800", "metric": "a", '
    '"value": 1, "time": 1}\n{}\n',
    "an infinite time": '{"step": 1, "epoch": 0, "phase": "val", "metric": "dice", "value": 1, "time": 1e999}\n{}\n',
    "a newer format": '{"format": 9, "step": 1, ' + RECORD + "}\n{}\n",
    "no JSON": "bad\n{}\n",
    "another record": "{}\n{}\n",
    "too deep": "[" * 200_000 + "\n{}\n",
    "an infinite step": '{"step": 1e999, "epoch": 0, "phase": "val", "metric": "dice", "value": 1, "time": 1}\n{}\n',
    "a huge step": '{"step": 1'
    + "0" * 40
    + ', "epoch": 0, "phase": "val", "metric": "dice", "value": 1, "time": 1}\n{}\n',
}


@pytest.mark.parametrize("command", [LIST, BEST])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_hides_no_other(
    runs: Path, damage: str, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    (runs / "run_0").mkdir()
    (runs / "run_0" / METRICS_FILE).write_text(DAMAGES[damage], encoding="utf-8")
    assert command(["--runs", str(runs), "--json"]) == TrackingError.exit_code
    out, err = capsys.readouterr()
    assert sorted(row["run"] for row in json.loads(out)) == ["run_a", "run_b"]
    assert str(runs / "run_0" / METRICS_FILE) in err and err.count("\n") == 1


@pytest.mark.parametrize("command", [LIST, BEST])
def test_metrics_that_are_a_folder_are_named(runs: Path, command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "run_c" / METRICS_FILE).mkdir(parents=True)
    assert command(["--runs", str(runs), "--json"]) == TrackingError.exit_code
    out, err = capsys.readouterr()
    assert len(json.loads(out)) == 2
    assert err.startswith(f"error: Can't read {runs / 'run_c' / METRICS_FILE}: Is a directory")
    assert run_main(COMPARE, ["run_a", "run_c", "--runs", str(runs)]) == TrackingError.exit_code
    assert "Is a directory" in capsys.readouterr().err


def test_a_metric_that_no_run_has_is_no_success(runs: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="has logged val/dicee"):
        BEST(["--runs", str(runs), "--metric", "val/dicee"])


def test_runs_of_one_name_are_told_apart_by_their_paths(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log(tmp_path / "other" / "run_a", [0.3])
    monkeypatch.chdir(tmp_path)
    words = ["runs/run_a", "other/run_a", "run_b", "run_a", "--runs", str(runs)]
    assert COMPARE([*words, "--json"]) == 0
    rows = said(capsys)
    assert [row["run"] for row in rows] == ["runs/run_a", "other/run_a", "run_b"]
    assert [row["best_val_dice"] for row in rows] == [0.8, 0.3, 0.9]
    assert COMPARE(words) == 0
    table = capsys.readouterr().out
    assert "runs/run_a" in table and "other/run_a" in table
    assert BEST([*words, "--json"]) == 0
    assert [row["run"] for row in said(capsys)] == ["run_b", "runs/run_a", "other/run_a"]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="these systems refuse such a name")
@pytest.mark.parametrize("command", [LIST, BEST])
def test_a_folder_whose_name_is_no_utf8_is_shown_escaped(
    runs: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    log(Path(os.fsdecode(os.fsencode(runs) + b"/run_\xff")), [0.1])
    assert command(["--runs", str(runs)]) == 0
    assert "run_\\udcff" in capsys.readouterr().out
    assert command(["--runs", str(runs), "--json"]) == 0
    assert {row["run"] for row in said(capsys)} == {"run_a", "run_b", "run_\\udcff"}


def test_a_diverged_value_is_never_the_best(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log(runs / "run_c", [math.inf, 0.3, math.nan])
    log(runs / "run_d", [-math.inf, math.nan])
    assert BEST(["--runs", str(runs), "--metric", "val/loss", "--json"]) == 0
    out, err = capsys.readouterr()
    assert [row["run"] for row in json.loads(out)] == ["run_b", "run_a", "run_c"]
    assert err.startswith("run_d: The metric val/loss was never a finite number")
    assert run_main(BEST, ["--runs", str(runs), "run_d"]) == ModelNotFoundError.exit_code
    assert "has a finite value of val/dice, so none is the best" in capsys.readouterr().err


def test_the_metrics_that_were_logged_are_named(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ExperimentTracker(runs.parent / "others" / "run_e") as tracker:
        tracker.log("train", {"loss": 1.0}, step=0, epoch=0)
    assert run_main(BEST, ["--runs", str(runs.parent / "others")]) == ModelNotFoundError.exit_code
    err = capsys.readouterr().err
    assert "has logged val/dice; name another one with --metric: train/loss." in err and "such as" not in err


def test_minutes_have_one_digit(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = [f'{{"step": {n}, {RECORD}, "time": {97 * n}}}\n' for n in range(2)]
    (runs / "run_a" / METRICS_FILE).write_text("".join(times), encoding="utf-8")
    assert LIST(["--runs", str(runs)]) == 0
    table = capsys.readouterr().out
    assert " 1.6 " in table and "1.6000" not in table


def test_a_newer_line_names_file_and_line(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = runs / "run_a" / METRICS_FILE
    with file.open("a", encoding="utf-8") as stream:
        stream.write('{"format": 9, "step": 1, ' + RECORD + "}\n")
    assert LIST(["--runs", str(runs)]) == TrackingError.exit_code
    assert f"{file}, line 9: this line was written by a newer version" in capsys.readouterr().err


def test_every_command_looks_for_runs_in_the_same_folder() -> None:
    from wms.data import versions_cli
    from wms.training import cli

    for declare, name in ((versions_cli.declare_history, "folder"), (cli.declare, "runs")):
        assert Command("", declare, lambda _: 0).parser().get_default(name) == RUNS
    assert LIST.parser().get_default("runs") == RUNS


def test_a_name_that_cannot_be_read_again_is_not_logged(tmp_path: Path) -> None:
    with ExperimentTracker(tmp_path) as tracker, pytest.raises(ValueError, match="UTF-8"):
        tracker.log("val", {"\ud800": 1.0}, step=0, epoch=0)
    assert (tmp_path / METRICS_FILE).read_bytes() == b""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes among its files")
@pytest.mark.parametrize("command", [LIST, BEST])
@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_instead_of_metrics_is_refused_at_once(
    runs: Path, command: Command, linked: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    file = runs / "run_c" / METRICS_FILE
    file.parent.mkdir()
    os.mkfifo(runs.parent / "pipe" if linked else file)
    if linked:
        file.symlink_to(runs.parent / "pipe")
    assert command(["--runs", str(runs), "--json"]) == TrackingError.exit_code
    out, err = capsys.readouterr()
    assert {row["run"] for row in json.loads(out)} == {"run_a", "run_b"}
    assert err == f"error: Can't read {file}: it is a named pipe, not a file; restore it, or move the run away.\n"
