"""Training as a user starts it: killed and resumed, damaged, repeated, looked at afterwards."""

import json
import re

import polars
import pytest
import torch
from small import config_in, only_run, photos, train, train_and_kill, write_recipe

from wms.training.distributed import Processes
from wms.training.loop import Trainer
from wms.training.prepare import load_samples, split_samples
from wms.training.tracker import ExperimentTracker, read_metrics

EVERY_STEP = {"checkpoint_seconds": 0, "keep_every": 2}
AVERAGED = {
    "training": {"ema_decay": 0.9, **EVERY_STEP},
    "schedule": {"warmup": 0.1},
    "loss": {"enlarge": 2},
    "augmentation": {"close_up": 0.5},
    "evaluation": {"mirror": True, "second_look": 0.5, "one_strip": True},
}
PLATEAU = {
    "training": {**EVERY_STEP, "early_stopping": 5, "channels_last": True},
    "schedule": {"kind": "plateau", "patience": 0},
    "optimiser": {"name": "adam", "gradient_clip": 1.0},
}


def weights(run):
    return (run / "artifacts" / "model" / "production.pth").read_bytes()


def values(run):
    """Everything measured but time and speed."""
    table = read_metrics(run).filter(polars.col("phase") != "system")
    return table.select("phase", "metric", "epoch", "step", "value").sort("phase", "metric", "epoch").rows()


@pytest.mark.slice("trainings", of=2)
@pytest.mark.parametrize("sections", [AVERAGED, PLATEAU], ids=["cosine-averaged", "plateau"])
def test_killed_at_any_step_and_resumed_is_bit_identical(tmp_path, sections):
    photos(tmp_path)
    write_recipe(tmp_path, **sections)
    whole = train(tmp_path, runs="whole")
    assert whole.returncode == 0, whole.stderr
    resume: list[str] = []
    kills = 0
    for step in (2, 6, 11):  # in the first epoch, the second, and the third at another resolution

        def reached(step=step):
            return any(int(p.stem[5:]) >= step for p in (tmp_path / "killed").glob("run_*/checkpoints/step_*.pt"))

        kills += train_and_kill(tmp_path, reached, *resume, runs="killed")
        resume = ["--resume"]
    assert kills == 3
    finished = train(tmp_path, "--resume", runs="killed")
    assert finished.returncode == 0, finished.stderr
    one, other = only_run(tmp_path / "whole"), only_run(tmp_path / "killed")
    assert weights(one) == weights(other)
    assert values(one) == values(other)


def test_what_a_run_leaves(tmp_path):
    photos(tmp_path)
    write_recipe(tmp_path)
    result = train(tmp_path)
    assert result.returncode == 0, result.stderr
    run = only_run(tmp_path / "runs")
    assert re.fullmatch(r"run_\d{8}_\d{6}_[0-9a-f]{8}", run.name)
    assert {p.name for p in run.iterdir()} >= {
        "config.json", "metadata.json", "metrics.jsonl", "checkpoints", "artifacts", "logs",
    }  # fmt: skip
    metadata = json.loads((run / "metadata.json").read_text())
    assert metadata["config_hash"].startswith(run.name[-8:])
    assert metadata["libraries"]["torch"] == torch.__version__.split("+")[0]
    assert {"data_version", "git_commit", "git_dirty", "machine", "finished_at"} <= metadata.keys()
    table = ExperimentTracker(run).get_metrics("train", "images")
    trained = json.loads((tmp_path / "runs" / "data_versions.jsonl").read_text())["counts"]["train"]
    assert table["value"].to_list() == [trained] * 3
    assert ExperimentTracker(run).get_metrics("test", "dice").height == 1, "the test split is touched once"
    assert "<html" in (run / "artifacts" / "report.html").read_text()
    state = torch.load(run / "artifacts" / "model" / "production.pth", weights_only=True)
    best = torch.load(run / "checkpoints" / "best.pt", weights_only=True)
    assert all(torch.equal(state[key], best[key]) for key in best)


@pytest.mark.slice("trainings", of=2)
def test_finished_run_resumed_changes_nothing(tmp_path):
    photos(tmp_path)
    write_recipe(tmp_path)
    assert train(tmp_path).returncode == 0
    run = only_run(tmp_path / "runs")
    before = weights(run), (run / "metrics.jsonl").read_bytes()
    assert train(tmp_path, "--resume").returncode == 0
    assert (weights(run), (run / "metrics.jsonl").read_bytes()) == before


@pytest.mark.slice("trainings", of=2)
def test_damaged_checkpoint_is_named_and_the_one_before_used(tmp_path):
    photos(tmp_path)
    write_recipe(tmp_path, **AVERAGED)
    assert train(tmp_path, runs="whole").returncode == 0

    def reached():  # by the index: a file is there a moment before it is listed, and only what is listed counts
        lists = (tmp_path / "runs").glob("run_*/checkpoints/index.json")
        return any(len(json.loads(path.read_text())) >= 2 for path in lists)

    assert train_and_kill(tmp_path, reached)
    run = only_run(tmp_path / "runs")
    newest = run / "checkpoints" / json.loads((run / "checkpoints" / "index.json").read_text())[-1]["file"]
    newest.write_bytes(newest.read_bytes()[:-1] + b"?")
    result = train(tmp_path, "--resume")
    assert result.returncode == 0, result.stderr
    assert f"Checkpoint {newest} is damaged" in result.stderr
    assert weights(run) == weights(only_run(tmp_path / "whole"))


@pytest.mark.slice("trainings", of=2)
def test_two_runs_with_one_seed_agree_and_another_seed_differs(tmp_path):
    photos(tmp_path)
    write_recipe(tmp_path)
    results = [train(tmp_path, *more, runs=runs) for runs, more in (("a", []), ("b", []), ("c", ["--seed", "9"]))]
    assert [r.returncode for r in results] == [0, 0, 0], results[-1].stderr
    a, b, c = (weights(only_run(tmp_path / name)) for name in "abc")
    assert a == b != c


def fake_validations(tmp_path, monkeypatch, results):
    """Train on real photos while validation says what `results` (Dice, loss per epoch) say; the epochs it took."""
    photos(tmp_path, 8)
    stages = [{"size": 32, "epochs": 12}]
    config = config_in(tmp_path, training={"stages": stages, "early_stopping": 3})
    data = split_samples(load_samples(config), config)
    trainer = Trainer(config, data.splits, Processes(torch.device("cpu")))
    said = iter(results)

    def score(split, size):
        dice, loss = next(said)
        return {"dice": dice, "iou": dice, "loss": loss}

    monkeypatch.setattr(trainer, "_score", score)
    trainer.fit()
    return trainer.at.epoch - 1, trainer.at.best_epoch


def test_early_stopping_waits_while_dice_or_loss_improves(tmp_path, monkeypatch):
    falling_loss = [(0.1, 1.0), *[(0.0, 0.9 - epoch / 100) for epoch in range(6)], *[(0.05, 0.9)] * 5]
    assert fake_validations(tmp_path, monkeypatch, falling_loss) == (10, 1)


def test_early_stopping_ends_a_run_that_stands_still(tmp_path, monkeypatch):
    assert fake_validations(tmp_path, monkeypatch, [(0.1, 1.0), (0.3, 1.1), *[(0.3, 1.0)] * 10]) == (5, 2)
