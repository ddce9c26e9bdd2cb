"""Against a real MLflow server that is killed, refuses and forgets: no loss, no duplicate, no waiting."""

from __future__ import annotations

import json
import logging
import math
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow_runs import PATIENCE_S, assert_arrived, client, log_epochs, logged, stored, sync_to, wait_for
from servers import Gateway, MlflowServer, free_port, gateway, mlflow_server

from wms.errors import TrackingError, run_main
from wms.training import mlflow_sync
from wms.training.mlflow_sender import KEY_TAG, STATE_FILE
from wms.training.mlflow_sync import replay
from wms.training.tracker import METRICS_FILE, ExperimentTracker, read_records


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as running:
        yield running


@pytest.fixture
def front(server: MlflowServer) -> Iterator[Gateway]:
    with gateway(server.port) as running:
        yield running


def test_all_of_a_run_arrives(server: MlflowServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run_dir = tmp_path / "whole"
    params = {f"param {i}": "x" * 7000 if i == 0 else str(i) for i in range(250)} | {"odd=key": "1"}
    sync = sync_to(server.uri, run_dir, params=params)
    outside = tmp_path / "model.pth"
    outside.write_bytes(b"weights")
    with ExperimentTracker(run_dir, sync) as tracker:
        log_epochs(tracker, range(400))  # 2,000 records: more than one batch
        tracker.log("test", {"dice": 0.9, "iou": math.inf, "cover%": -math.inf}, step=4000, epoch=399)
        (run_dir / "report.html").write_text("report")
        sync.add_artifact(run_dir / "report.html")
        sync.add_artifact(outside, "model")
        report = sync.finish("FINISHED", PATIENCE_S)
    assert report.complete
    assert (report.sent, report.pending, report.artifacts_pending) == (2003, 0, 0)
    run = client(server).get_run(report.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "whole"
    assert run.info.start_time <= run.info.end_time
    assert run.data.params == {k.replace("=", "_"): v[:6000] for k, v in params.items()}
    assert run.data.tags["wms.git"] == "abc"
    assert {"final_test_dice", "final_test_iou", "final_test_cover_"} < set(run.data.metrics)
    rows = stored(server, str(report.run_id))
    rows_expected = Counter({(k.replace("%", "_"), *rest): n for (k, *rest), n in logged(run_dir).items()})
    assert rows == rows_expected
    assert [item.path for item in client(server).list_artifacts(report.run_id)] == ["model", "report.html"]
    assert [item.path for item in client(server).list_artifacts(report.run_id, "model")] == ["model/model.pth"]
    assert capfd.readouterr().out == ""


def test_a_refusing_server_gets_everything_later(
    front: Gateway, server: MlflowServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_dir = tmp_path / "refused"
    front.refuse_with = 503
    with caplog.at_level(logging.WARNING, "wms"):
        sync = sync_to(front.uri, run_dir)
        with ExperimentTracker(run_dir, sync) as tracker:
            log_epochs(tracker, range(5))
            wait_for(lambda: len(front.refused) >= 2)
            front.refuse_with = 403
            before = len(front.refused)
            wait_for(lambda: len(front.refused) >= before + 2)
            assert sync.report().pending == 25
            front.refuse_with = None
            wait_for(lambda: sync.report().pending == 0)
            log_epochs(tracker, range(5, 8))
            report = sync.finish("FINISHED", PATIENCE_S)
    assert report.complete
    assert_arrived(server, run_dir, report.run_id)
    said = [record.getMessage() for record in caplog.records if record.name == "wms"]
    assert len(said) == 2, "one sentence when it goes, one when it's back"
    assert "takes nothing now (too many 503 error responses)" in said[0]
    assert "is back" in said[1]


def test_a_lost_answer_doubles_nothing(front: Gateway, server: MlflowServer, tmp_path: Path) -> None:
    """The server did what was asked, but nobody heard: the run's creation, a batch of metrics, a file."""
    run_dir = tmp_path / "unanswered"
    front.lose = ("runs/create",)
    sync = sync_to(front.uri, run_dir)
    wait_for(lambda: len(front.lost) == 1)
    with ExperimentTracker(run_dir, sync) as tracker:
        log_epochs(tracker, range(3))
        wait_for(lambda: sync.report().pending == 0)
        front.lose = ("runs/log-batch", "mlflow-artifacts")
        log_epochs(tracker, range(3, 6))
        wait_for(lambda: len(front.lost) >= 3)
        (run_dir / "plot.png").write_bytes(b"plot")
        front.lose = ("mlflow-artifacts",)
        sync.add_artifact(run_dir / "plot.png", "plots")
        wait_for(lambda: "plot.png" in front.lost[-1])
        assert sync.report().artifacts_pending == 1
        front.lose = ()
        report = sync.finish("FINISHED", PATIENCE_S)
    assert report.complete
    assert_arrived(server, run_dir, report.run_id)
    assert [item.path for item in client(server).list_artifacts(report.run_id, "plots")] == ["plots/plot.png"]


def test_a_crash_before_the_acknowledgement_doubles_nothing(server: MlflowServer, tmp_path: Path) -> None:
    run_dir = tmp_path / "forgetful"
    sync = sync_to(server.uri, run_dir)
    with ExperimentTracker(run_dir, sync) as tracker:
        log_epochs(tracker, range(230))  # 1,150 records: the second batch is half new in what follows
        tracker.log("test", {"dice": math.inf, "iou": -math.inf, "loss": math.nan}, step=0, epoch=0)
    wait_for(lambda: sync.report().pending == 0)
    state = json.loads((run_dir / STATE_FILE).read_text())
    run_id = state["run_id"]
    for forgotten in ({"sent": 0}, {"sent": 500}, {"sent": 0, "run_id": None}):
        (run_dir / STATE_FILE).write_text(json.dumps({**state, **forgotten}))
        with ExperimentTracker(run_dir) as tracker:
            log_epochs(tracker, range(240))
        report = replay(run_dir, PATIENCE_S)
        assert report.complete
        assert report.run_id == run_id
        assert_arrived(server, run_dir, run_id)


def test_a_resumed_run_goes_on_in_the_same_mlflow_run(
    server: MlflowServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_dir = tmp_path / "resumed"
    sync = sync_to(server.uri, run_dir)
    with ExperimentTracker(run_dir, sync) as tracker:
        log_epochs(tracker, range(3))
    first = sync.finish("FAILED", PATIENCE_S)  # after the tracker closed it: it still works
    assert first.complete
    assert client(server).get_run(first.run_id).info.status == "FAILED"

    sync = sync_to(server.uri, run_dir, params={"lr": "0.1", "new": "1"})
    wait_for(lambda: bool(client(server).get_run(first.run_id).info.status == "RUNNING"))
    with ExperimentTracker(run_dir, sync) as tracker:
        log_epochs(tracker, range(5))
        last = sync.finish("FINISHED", PATIENCE_S)
    assert last.complete
    assert_arrived(server, run_dir, first.run_id)
    run = client(server).get_run(first.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"lr": "0.002", "new": "1"}
    assert "keeps the first values of the parameters lr" in caplog.text


def test_records_that_a_power_cut_took_do_not_hide_later_ones(server: MlflowServer, tmp_path: Path) -> None:
    run_dir = tmp_path / "cut"
    sync = sync_to(server.uri, run_dir)
    with ExperimentTracker(run_dir, sync) as tracker:
        log_epochs(tracker, range(4))
    wait_for(lambda: sync.report().pending == 0)
    kept = (run_dir / METRICS_FILE).read_bytes().splitlines(keepends=True)[:10]
    (run_dir / METRICS_FILE).write_bytes(b"".join(kept))
    sync = sync_to(server.uri, run_dir)
    with ExperimentTracker(run_dir, sync) as tracker:
        log_epochs(tracker, range(4))
        report = sync.finish("FINISHED", PATIENCE_S)
    assert report.complete
    assert not logged(run_dir) - stored(server, str(report.run_id))


def test_a_run_that_the_server_lost_is_sent_anew(server: MlflowServer, tmp_path: Path) -> None:
    run_dir = tmp_path / "lost"
    log_epochs(ExperimentTracker(run_dir), range(3))
    sync_to(f"http://127.0.0.1:{free_port()}", run_dir).close(0)
    state = json.loads((run_dir / STATE_FILE).read_text())
    gone = {**state, "tracking_uri": server.uri, "run_id": "f" * 32, "sent": 15, "status": "FINISHED"}
    (run_dir / STATE_FILE).write_text(json.dumps(gone))
    report = replay(run_dir, PATIENCE_S)
    assert report.complete
    assert report.run_id != "f" * 32
    assert_arrived(server, run_dir, report.run_id)
    assert client(server).get_run(report.run_id).info.status == "FINISHED"
    assert client(server).get_run(report.run_id).data.tags[KEY_TAG] == state["run_key"]


def test_the_command_sends_what_waited(
    front: Gateway, server: MlflowServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "late"
    front.refuse_with = 503
    sync = sync_to(front.uri, run_dir)
    (tmp_path / "plot.png").write_bytes(b"plot")
    sync.add_artifact(tmp_path / "plot.png")
    with ExperimentTracker(run_dir, sync) as tracker:
        log_epochs(tracker, range(3))
        report = sync.finish("FINISHED", 1.0)
    assert (report.sent, report.pending, report.artifacts_pending, report.run_id) == (0, 15, 1, None)
    assert report.error
    assert run_main(mlflow_sync.COMMAND, [str(run_dir), "--timeout", "1"]) == TrackingError.exit_code
    assert "15 metrics and 1 files" in capsys.readouterr().err
    front.refuse_with = None
    done = subprocess.run(
        [sys.executable, "-m", "wms_ops", "runs", "send", str(run_dir)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "15 metrics" in done.stdout
    run_id = json.loads((run_dir / STATE_FILE).read_text())["run_id"]
    assert_arrived(server, run_dir, run_id)
    assert client(server).get_run(run_id).info.status == "FINISHED"


def test_a_server_killed_in_the_middle_loses_and_doubles_nothing(server: MlflowServer, tmp_path: Path) -> None:
    run_dir = tmp_path / "killed"
    sync = sync_to(server.uri, run_dir)
    with ExperimentTracker(run_dir, sync) as tracker:
        log_epochs(tracker, range(100))
        wait_for(lambda: sync.report().sent > 0)
        log_epochs(tracker, range(100, 200))  # some of it is under way
        server.kill()
        try:
            log_epochs(tracker, range(200, 300))  # `log` returns although nobody is there
            assert len(read_records(run_dir / METRICS_FILE)[0]) == 1500
            assert sync.report().pending >= 500
        finally:
            server.start()
        log_epochs(tracker, range(300, 310))
        report = sync.finish("FINISHED", PATIENCE_S)
    assert report.complete
    assert (report.sent, report.pending) == (1550, 0)
    assert_arrived(server, run_dir, report.run_id)


def test_a_server_that_never_answers_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")  # the user's own value stays
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sync = sync_to(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path / "silent")
        with ExperimentTracker(tmp_path / "silent", sync) as tracker:
            log_epochs(tracker, range(3))
            assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "5"
            assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
            report = sync.finish("FINISHED", 0.5)
    assert report.pending == 15
    assert report.error
    assert not report.complete
    wait_for(lambda: "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ)
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "5"


def test_credentials_reach_neither_disk_nor_console(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sync = sync_to(f"http://anna:s3cret@127.0.0.1:{free_port()}/", tmp_path)
    wait_for(lambda: "takes nothing now" in caplog.text)
    report = sync.finish("FAILED", 0.2)
    text = (tmp_path / STATE_FILE).read_text() + caplog.text + str(report)
    assert "127.0.0.1" in text
    assert "s3cret" not in text
    assert "anna" not in text


def test_a_folder_without_a_readable_state_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="isn't meant for an MLflow server"):
        replay(tmp_path)
    (tmp_path / STATE_FILE).write_text('{"run_id": 3}')
    with pytest.raises(TrackingError, match=r"mlflow_sync\.json is damaged"):
        replay(tmp_path)
    with pytest.raises(TrackingError, match=r"mlflow_sync\.json is damaged"):
        sync_to("http://127.0.0.1:9", tmp_path)


def test_syncing_needs_neither_torch_nor_mlflow_to_start() -> None:
    code = "import sys, wms.training.mlflow_sync; sys.exit(bool({'torch', 'mlflow'} & set(sys.modules)))"
    path = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "src")}
    assert subprocess.run([sys.executable, "-c", code], check=False, env=path).returncode == 0
