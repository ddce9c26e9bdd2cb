"""A run and its MLflow server: everything arrives, or waits in the run folder and is sent later, once."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from servers import MlflowServer
from small import only_run, photos, train, write_recipe

from wms.training.mlflow_sync import replay
from wms.training.tracker import read_records


def sent_to(uri: str, run_name: str):
    """The one run of that name on the server: its metrics' names with counts, parameters, tags and files."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("water-meter-segmentation")
    (run,) = client.search_runs([experiment.experiment_id], f"tags.`wms.run_name` = '{run_name}'")
    names = Counter({name: len(client.get_metric_history(run.info.run_id, name)) for name in run.data.metrics})
    files: set[str] = set()
    folders = [""]
    while folders:
        for entry in client.list_artifacts(run.info.run_id, folders.pop() or None):
            (folders.append if entry.is_dir else files.add)(entry.path)
    return names, run.data.params, run.data.tags, files


@pytest.fixture
def quick_mlflow(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server for all tests here, which isn't there before a test starts it."""
    made = MlflowServer(tmp_path_factory.mktemp("server"))
    try:
        yield made
    finally:
        made.kill()


def test_run_without_its_server_finishes_and_is_sent_later(tmp_path, quick_mlflow, server):
    photos(tmp_path)
    write_recipe(tmp_path)
    server.kill()
    uri = server.uri
    result = train(tmp_path, MLFLOW_TRACKING_URI=uri, WMS_MLFLOW_WAIT="1")
    assert result.returncode == 0, result.stderr
    assert "Send them later: wms runs send" in result.stdout
    run = only_run(tmp_path / "runs")
    server.start()
    assert replay(run).complete
    assert replay(run).complete, "a second time sends nothing new"
    names, params, tags, files = sent_to(uri, run.name)
    records, _ = read_records(run / "metrics.jsonl")
    wanted = Counter(f"{'final_test' if r.phase == 'test' else r.phase}_{r.metric}" for r in records)
    assert names == wanted
    assert {"final_test_dice", "final_test_iou", "val_dice", "train_loss"} <= names.keys()
    assert params["optimiser.learning_rate"] == "0.01"
    assert {"config_hash", "data_version", "git_commit"} <= tags.keys()
    here = {p.relative_to(run / "artifacts").as_posix() for p in Path(run / "artifacts").rglob("*") if p.is_file()}
    assert here | {"config.json", "metadata.json"} == files
    assert "MLFLOW" not in (run / "config.json").read_text()
    assert os.environ.get("MLFLOW_TRACKING_URI") is None


def test_every_attempt_is_finished_and_says_which_was_chosen(tmp_path, quick_mlflow, server):
    """Only the chosen one has test scores and a model at the server."""
    from mlflow.tracking import MlflowClient

    photos(tmp_path)
    write_recipe(tmp_path, training={"stages": [{"size": 32, "epochs": 1}]})
    if server.process is None:
        server.start()
    done = train(tmp_path, "--attempts", "2", MLFLOW_TRACKING_URI=server.uri)
    assert done.returncode == 0, done.stderr
    runs = sorted((tmp_path / "runs").glob("run_*"))
    (chosen,) = (run for run in runs if (run / "artifacts/test_scores.json").exists())
    for run in runs:
        names, _, tags, files = sent_to(server.uri, run.name)
        assert (tags["attempts"], tags["attempts.chosen"]) == ("2", chosen.name)
        tried = {one["run"]: one["val_dice"] for one in json.loads(tags["attempts.tried"])}
        assert tried.keys() == {one.name for one in runs} and tried[run.name] >= 0
        assert "val_dice" in names and "metadata.json" in files
        assert ("final_test_dice" in names, "model/production.onnx" in files) == ((run == chosen),) * 2
    client = MlflowClient(server.uri)
    (experiment,) = client.search_experiments(filter_string="name = 'water-meter-segmentation'")
    status = {run.info.run_name: run.info.status for run in client.search_runs([experiment.experiment_id])}
    assert [status[run.name] for run in runs] == ["FINISHED", "FINISHED"]
