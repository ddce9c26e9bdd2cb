"""Several attempts: validation chooses, the test set is asked for the chosen one alone, and a kill changes nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from small import config_in, photos, train, train_and_kill, train_command, write_recipe

from wms.config import RunConfig
from wms.errors import ConfigError, DivergedError, ResumeMismatchError, TrackingError, run_main
from wms.files import object_in, write_atomic
from wms.training import evaluation, pipeline
from wms.training.attempts_file import PREFIX, Attempts, Try
from wms.training.candidate import train_candidate
from wms.training.cli import COMMAND
from wms.training.loop import Trainer
from wms.training.position import Progress
from wms.training.prepare import load_samples, split_samples
from wms.training.request import Attempt, Request, TrainingResult
from wms.training.run_folder import create_run_directory, find_run, runs_in
from wms.training.tracker import read_metrics
from wms.training.train import run_training

SHORT = {"stages": [{"size": 32, "epochs": 4}], "batch_size": 4, "evaluate_every": 4, "checkpoint_seconds": 0}
QUICK = {"stages": [{"size": 32, "epochs": 1}]}
APART = {"evaluation": {"threshold": 0.3}, "optimiser": {"learning_rate": 0.03}}
"""So that seeds differ after four epochs: some find nothing yet, others mark everything."""


def recipe(folder: Path, count: int = 3, **training: Any) -> RunConfig:
    return config_in(folder, training={**SHORT, "attempts": count, **training}, **APART)


def group_in(runs: Path) -> dict[str, Any]:
    (path,) = runs.glob(f"{PREFIX}*.json")
    return dict(json.loads(path.read_bytes()))


def seed_of(run: Path) -> int:
    return int(object_in(run / "config.json")["seed"])


class Asked:
    """The photos that were loaded for scoring (`stems`), and how often the test split was scored (`times`)."""

    def __init__(self, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.runs, self.stems, self.times = runs, set[str](), 0
        real_case, real_score = evaluation.load_case, pipeline.score_test

        def load_case(sample: Any, *rest: Any) -> Any:
            self.stems.add(sample.pair.stem)
            return real_case(sample, *rest)

        def score_test(*given: Any) -> Any:
            self.times += 1
            assert self.stems.isdisjoint(self.tested()), "no attempt looks at a test photo before the choice"
            return real_score(*given)

        monkeypatch.setattr(evaluation, "load_case", load_case)

        def write_report(folder: Path, **_: Any) -> Path:
            write_atomic(folder / "artifacts/report.html", "drawn at the command line, because it takes a second")
            return folder / "artifacts/report.html"

        monkeypatch.setattr(pipeline, "score_test", score_test)
        monkeypatch.setattr(pipeline, "write_report", write_report)

    def tested(self) -> set[str]:
        run = next(self.runs.glob("run_*"))
        lines = (run / "artifacts/data.jsonl").read_text(encoding="utf-8").splitlines()
        return {item["stem"] for item in map(json.loads, lines) if item["split"] == "test"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the photos, their cache and their splits, for all trainings here."""
    folder = tmp_path_factory.mktemp("data")
    photos(folder)
    return folder


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(tmp_path / "runs", monkeypatch)


@dataclass(frozen=True)
class Whole:
    """A training of three attempts that nothing disturbed."""

    asked: Asked
    said: list[str]
    result: TrainingResult


@pytest.fixture(scope="module")
def whole(data: Path) -> Whole:
    with pytest.MonkeyPatch.context() as patch:
        asked, said = Asked(data / "whole", patch), list[str]()
        result = run_training(recipe(data), Request(asked.runs, device="cpu", quiet=True, show=said.append))
    assert isinstance(result, TrainingResult)
    return Whole(asked, said, result)


def test_only_the_chosen_attempt_asks_the_test_set(whole: Whole) -> None:
    asked, result = whole.asked, whole.result
    assert asked.times == 1 and asked.stems > asked.tested()
    runs = runs_in(asked.runs)
    assert [seed_of(run) for run in runs] == [0, 1, 2]
    dice = {run: float(read_metrics(run).filter(phase="val", metric="dice")["value"].max() or 0) for run in runs}
    assert len(set(dice.values())) > 1, "the seeds differ"
    assert dice[result.run_dir] == max(dice.values())
    for run in runs:
        is_chosen = run == result.run_dir
        assert (run / "artifacts/test_scores.json").exists() == is_chosen
        assert (run / "artifacts/model/production.onnx").exists() == is_chosen
        assert bool(len(read_metrics(run).filter(phase="test"))) == is_chosen
        metadata = object_in(run / "metadata.json")
        assert metadata["finished_at"]
        told = metadata["attempts"]
        assert (told["count"], told["chosen"]) == (3, result.run_dir.name)
        assert {one["run"]: one["val_dice"] for one in told["tried"]} == {r.name: pytest.approx(dice[r]) for r in runs}
    assert object_in(result.model / "production.json")["attempts"] == 3
    assert any(f"Chosen on validation from 3 attempts: {result.run_dir.name}" in line for line in whole.said)


def test_neither_an_edited_file_nor_a_lost_one_lets_another_attempt_be_scored(
    data: Path, whole: Whole, tmp_path: Path, asked: Asked
) -> None:
    chosen = whole.result.run_dir.name
    config, again = recipe(data), Request(tmp_path / "runs", device="cpu", quiet=True, resume=True)
    shutil.copytree(whole.asked.runs, again.runs)
    (file,) = again.runs.glob(f"{PREFIX}*.json")
    record = json.loads(file.read_bytes())
    worst = min(record["tries"], key=lambda one: float(one["val_dice"]))
    worst["val_dice"] = 0.99
    file.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(TrackingError, match=f"Validation chose {chosen}, and a finished choice stays"):
        run_training(config, again)
    file.unlink()
    own = config.with_changes(seed=worst["seed"], training__attempts=1)
    with pytest.raises(ResumeMismatchError, match=f"of which validation chose {chosen}"):
        run_training(own, replace(again, resume_name=worst["run"]))
    assert not asked.times and not (again.runs / worst["run"] / "artifacts/test_scores.json").exists()


def test_a_single_training_says_nothing_of_attempts(data: Path, asked: Asked) -> None:
    config = recipe(data, 1)
    assert config.hash == config_in(data, training=SHORT, **APART).hash, "older recipes keep their hash"
    result = run_training(recipe(data, 1, **QUICK), Request(asked.runs, device="cpu", quiet=True))
    assert isinstance(result, TrainingResult)
    assert "attempts" not in object_in(result.model / "production.json")
    assert "attempts" not in object_in(result.run_dir / "metadata.json")


def test_the_progress_counts_all_attempts() -> None:
    first, last = (Attempt(number, 4, str) for number in (0, 3))
    assert (first.overall(Progress(0.5, 1)).share, last.overall(Progress(1.0, 2)).share) == (0.125, 1.0)
    assert first.text == "Attempt 1 of 4"


def kill_at(number: int, share: float, runs: Path) -> Any:
    def watch(_: Trainer, progress: Progress) -> None:
        if len(list(runs.glob("run_*"))) == number and progress.share >= share:
            raise KeyboardInterrupt

    return watch


def test_a_killed_training_ends_with_the_same_choice_and_trains_nothing_twice(
    data: Path, whole: Whole, asked: Asked
) -> None:
    config, runs, expected = recipe(data), asked.runs, whole.result
    killed = Request(runs, device="cpu", quiet=True, watch=kill_at(2, 0.5, runs))
    with pytest.raises(KeyboardInterrupt):
        run_training(config, killed)
    (first, second) = runs_in(runs)
    before = (first / "metrics.jsonl").read_bytes()
    assert not asked.times
    with pytest.raises(ResumeMismatchError, match=r"is one of 3 attempts.*`--attempts 3 --resume`"):
        run_training(recipe(data, 1), Request(runs, device="cpu", quiet=True, resume=True))
    result = run_training(config, Request(runs, device="cpu", quiet=True, resume=True))
    assert isinstance(result, TrainingResult)
    assert [seed_of(run) for run in runs_in(runs)] == [0, 1, 2], "the second run was continued, not begun again"
    assert runs_in(runs)[1] == second
    if result.run_dir != first:
        assert (first / "metrics.jsonl").read_bytes() == before
    assert asked.times == 1
    assert seed_of(result.run_dir) == seed_of(expected.run_dir)
    weights = [(one.model / "production.pth").read_bytes() for one in (expected, result)]
    assert weights[0] == weights[1]


def test_of_two_runs_that_began_in_one_second_the_later_one_is_the_newest(data: Path, tmp_path: Path) -> None:
    for seed in range(8):  # the hash of a recipe ends the name, so names alone would tell the order of some only
        create_run_directory(tmp_path, recipe(data, 1, **QUICK).with_changes(seed=seed))
        assert seed_of(find_run(tmp_path, None, None)[0]) == seed
    assert [seed_of(run) for run in runs_in(tmp_path)] == list(range(8))


def test_a_seed_that_diverges_is_told_and_never_chosen(
    data: Path, tmp_path: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Trainer._step

    def diverge(self: Trainer, *given: Any) -> None:
        if self.config.seed in bad:
            raise DivergedError("The loss became nan.")
        real(self, *given)

    monkeypatch.setattr(Trainer, "_step", diverge)
    bad, said = {0}, list[str]()
    config = recipe(data, 2, **QUICK)
    result = run_training(config, Request(asked.runs, device="cpu", quiet=True, show=said.append))
    assert isinstance(result, TrainingResult) and seed_of(result.run_dir) == 1
    assert any("seed 0, came to no model" in line and "became nan" in line for line in said)
    tried = object_in(result.run_dir / "metadata.json")["attempts"]["tried"]
    assert (tried[0]["val_dice"], "became nan" in tried[0]["failure"]) == (None, True)
    bad = {0, 1}
    with pytest.raises(DivergedError, match="Each of 2 attempts failed"):
        run_training(config, Request(tmp_path / "other", device="cpu", quiet=True))


def test_the_highest_validation_dice_wins_and_of_equal_ones_the_first() -> None:
    tries = [Try(seed=4, run="a", val_dice=0.5), Try(seed=5, run="b", val_dice=0.7), Try(seed=6, run="c", val_dice=0.7)]
    assert Attempts(config_hash="h", tries=tuple(tries)).best.run == "b"


def test_dvc_continues_a_recipe_of_several_and_a_kill_after_the_choice_scores_the_same_run(
    data: Path, tmp_path: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, runs = recipe(data, 2, **QUICK), asked.runs
    version = split_samples(load_samples(config), config).version
    with monkeypatch.context() as once:
        once.setattr(pipeline.TrainingRun, "evaluate", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            train_candidate(config, tmp_path / "candidate", runs=runs, data_version=version, device="cpu")
    before = {run: (run / "metrics.jsonl").read_bytes() for run in runs_in(runs)}
    run = train_candidate(config, tmp_path / "candidate", runs=runs, data_version=version, device="cpu")
    assert before.keys() == set(runs_in(runs)) and asked.times == 1
    for folder, lines in before.items():
        now = (folder / "metrics.jsonl").read_bytes()
        assert now.startswith(lines) and (now != lines) == (folder == run), "only test scores are new"
    assert object_in(tmp_path / "candidate/production.json")["attempts"] == 2


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({"evaluate_test": True}, "only the chosen one may see them"),
        ({"attempts": 0}, "greater than or equal to 1"),
        ({"attempts": 101}, "less than or equal to 100"),
    ],
)
def test_what_several_attempts_cannot_be(tmp_path: Path, training: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config_in(tmp_path, training={**SHORT, "attempts": 2, **training})


@pytest.fixture
def at_the_command_line(tmp_path: Path) -> Iterator[Path]:
    photos(tmp_path)
    write_recipe(tmp_path, training=QUICK)
    yield tmp_path


def test_the_command_line_asks_and_a_kill_between_attempts_resumes(
    at_the_command_line: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = at_the_command_line

    def second_begun() -> bool:
        return len(runs_in(folder / "runs")) == 2

    assert train_and_kill(folder, second_begun, "--attempts", "2", "--seed", "7")
    assert [one["seed"] for one in group_in(folder / "runs")["tries"]] == [7, 8]
    done = train(folder, "--attempts", "2", "--seed", "7", "--resume")
    assert done.returncode == 0, done.stderr
    assert "Chosen on validation from 2 attempts" in done.stdout
    scored = [run for run in runs_in(folder / "runs") if (run / "artifacts/test_scores.json").exists()]
    assert len(scored) == 1 and seed_of(scored[0]) in (7, 8)
    again = train_command(folder, "--attempts", "3", "--seed", "7", "--resume")[2:]
    assert run_main(COMMAND, again) == ResumeMismatchError.exit_code
    assert "2 attempts from seed 7 on" in capsys.readouterr().err
