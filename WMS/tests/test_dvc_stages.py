"""dvc.yaml as a user starts it: the real `dvc repro` in a repository of its own, and its parts one by one."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from small import ROOT, config_in, environment, only_run, photos, recipe

from wms.config import parse_config
from wms.data.synthetic import draw_meter
from wms.errors import DataNotFoundError, ModelDamagedError, ModelNotFoundError, ResumeMismatchError
from wms.files import sha256_file
from wms.training import candidate, dvc_stages

DVC = Path(sys.executable).with_name("dvc.exe" if os.name == "nt" else "dvc")
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
NAMES = PIPELINE["vars"][0]
UNSAID = {"seed": 0, "loss": {}, "schedule": {}}  # what the small recipe leaves out and dvc.yaml names
RUNS_SMALL = {"training": {"stages": [{"size": 32, "epochs": 2}], "batch_size": 4}}

DECIDES_NOTHING = {
    "name": "other",
    "gate": {"mode": "dry-run", "min_improvement": 0.01, "min_confidence": 0.95, "slices": ["coverage"]},
    "tracking": {"experiment": "other"},
}


class Repository:
    """A Git and DVC repository with this project's pipeline, a small recipe and 24 synthetic photos."""

    def __init__(self, root: Path) -> None:
        self.root, self.data = root, root / NAMES["data"]
        for name in ("dvc.yaml", ".dvcignore", ".dvc/config", ".dvc/.gitignore"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
        shutil.copytree(ROOT / "WMS/src", root / "WMS/src", ignore=shutil.ignore_patterns("__pycache__"))
        self.write_recipe(**RUNS_SMALL)
        photos(root / "drawn")
        shutil.move(root / "drawn" / "photos", self.data)
        self.git("init", "-q")
        self.dvc("add", "-q", str(self.data / "images"), str(self.data / "masks"))
        self.commit()

    def write_recipe(self, **sections: Any) -> None:
        """The recipe of record's place, filled with a small one."""
        path = self.root / NAMES["recipe"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(recipe(**{**UNSAID, **sections})), encoding="utf-8")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        variables = {"DVC_GLOBAL_CONFIG_DIR": "global", "DVC_SYSTEM_CONFIG_DIR": "system", "DVC_SITE_CACHE_DIR": "site"}
        own = {name: str(self.root / ".dvc" / "tmp" / folder) for name, folder in variables.items()}
        path = os.pathsep.join([str(DVC.parent), os.environ["PATH"]])
        everything = environment(PATH=path, PYTHONPATH=str(self.root / "WMS" / "src"), **own)
        return subprocess.run(
            command, cwd=self.root, env=everything, capture_output=True, text=True, timeout=240, check=False
        )

    def git(self, *arguments: str) -> None:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        done = self.run("git", *identity, *arguments)
        assert done.returncode == 0, done.stderr

    def commit(self) -> None:
        self.git("add", "dvc.yaml", "WMS/data", "WMS/configs")
        self.git("commit", "-q", "-m", "Data")

    def dvc(self, *arguments: str) -> str:
        done = self.run(str(DVC), *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def repro(self, *arguments: str) -> set[str]:
        """Run `dvc repro` and say which stages it ran, or with --dry would run."""
        return set(re.findall(r"Running stage '(\w+)'", self.dvc("repro", *arguments)))

    def read(self, name: str) -> Any:
        return json.loads((self.root / name).read_text(encoding="utf-8"))


def test_repro_runs_what_changed_and_moves_no_split(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    splits = tmp_path / NAMES["splits"]
    assert repository.repro() == {"prepare", "train", "evaluate"}
    recorded = splits.read_bytes()
    prepared, metrics = (repository.read(name) for name in (NAMES["prepared"], f"{NAMES['evaluation']}/metrics.json"))
    assert prepared["images"] == sum(prepared["splits"].values()) == len(recorded.splitlines()) == 24
    assert metrics["test_images"] == prepared["splits"]["test"]
    card = repository.read(f"{NAMES['candidate']}/production.json")
    assert metrics["final_test_dice"] == pytest.approx(float(card["final_test_dice"]), abs=1e-6)
    assert only_run(tmp_path / "runs").name == card["run"]
    scores = repository.read(f"{NAMES['evaluation']}/scores.json")
    assert [row["dice"] for row in scores] == sorted(row["dice"] for row in scores)
    assert "final_test_dice" in repository.dvc("metrics", "show")

    lock = (tmp_path / "dvc.lock").read_bytes()
    assert repository.repro() == set()
    repository.write_recipe(**RUNS_SMALL, **DECIDES_NOTHING)
    with (tmp_path / "WMS/src/wms/config_gate.py").open("a") as stream:
        stream.write("# another rule\n")
    assert repository.repro() == set(), "the gate's settings and its code train nothing"
    assert (tmp_path / "dvc.lock").read_bytes() == lock

    repository.write_recipe(**RUNS_SMALL, optimiser={"learning_rate": 0.02})
    assert repository.repro() == {"train", "evaluate"}
    assert repository.read(NAMES["prepared"]) == prepared
    assert repository.read(f"{NAMES['candidate']}/production.json")["config_hash"] != card["config_hash"]

    meter = draw_meter(99, size=96)
    meter.image.save(repository.data / "images" / "added.jpg")
    meter.mask.save(repository.data / "masks" / "added.png")
    assert repository.repro("prepare") == {"prepare"}
    assert repository.repro("--dry") == {"train", "evaluate"}
    assert splits.read_bytes().startswith(recorded), "what was recorded stays, byte for byte"
    assert repository.read(NAMES["prepared"])["images"] == len(splits.read_bytes().splitlines()) == 25


def test_a_lost_pair_stops_the_repro(tmp_path: Path) -> None:
    """DVC itself would take the smaller folder for the new data set."""
    repository = Repository(tmp_path)
    for kind in ("images", "masks"):
        sorted((repository.data / kind).iterdir())[0].unlink()
    done = repository.run(str(DVC), "repro", "prepare")
    assert done.returncode != 0
    assert "holds 23 of 24 files" in done.stderr
    assert not (tmp_path / NAMES["splits"]).exists()
    repository.git("checkout", "HEAD", "--", NAMES["data"])
    repository.dvc("checkout", "-q")
    dvc_stages.refuse_lost_files(repository.data)


def test_a_recipe_without_a_section_that_decides_is_refused_before_training(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    values = yaml.safe_load((tmp_path / NAMES["recipe"]).read_text(encoding="utf-8"))
    del values["schedule"]
    (tmp_path / NAMES["recipe"]).write_text(yaml.safe_dump(values), encoding="utf-8")
    done = repository.run(str(DVC), "repro")
    assert done.returncode != 0
    assert f"Parameters 'schedule' are missing from '{NAMES['recipe']}'" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a train stage that was killed once it had written a checkpoint."""
    folder = tmp_path_factory.mktemp("killed")
    photos(folder, 12)
    values = recipe(training={"stages": [{"size": 32, "epochs": 30}], "batch_size": 4, "checkpoint_seconds": 0})
    values["data"]["cache_folder"] = str(folder / "cache")
    (folder / "small.yaml").write_text(yaml.safe_dump(values))
    assert dvc_stages.main(command("prepare", folder)) == 0
    arguments = [sys.executable, "-m", "wms.training.dvc_stages", *command("train", folder)]
    with subprocess.Popen(arguments, env=environment(PYTHONPATH=str(ROOT / "WMS/src"))) as process:
        while process.poll() is None and not list((folder / "runs").glob("run_*/checkpoints/index.json")):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.01)  # a poll's pause
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (folder / "candidate").exists()
    return folder


@pytest.fixture
def begun(killed: Path, tmp_path: Path) -> tuple[list[str], Path]:
    """The same in a folder of the test's own: the stage's arguments and the run that was killed."""
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    return command("train", tmp_path), only_run(tmp_path / "runs")


def command(stage: str, folder: Path) -> list[str]:
    """The arguments of one stage with all paths in `folder`."""
    shared = {"config": "small.yaml", "data": "photos", "splits": "splits.jsonl"}
    own = {
        "prepare": {"output": "prepared.json"},
        "train": {"prepared": "prepared.json", "runs": "runs", "output": "candidate"},
    }
    device = [] if stage == "prepare" else ["--device", "cpu"]
    paths = {**shared, **own[stage]}.items()
    return [stage, *(part for name, path in paths for part in (f"--{name}", str(folder / path))), *device]


def test_a_killed_stage_continues_its_run(begun: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    arguments, run = begun
    folder = run.parent.parent
    assert dvc_stages.main(arguments) == 0
    assert f"Continuing {run.name}" in capsys.readouterr().out
    assert only_run(run.parent) == run
    assert sorted(path.name for path in (folder / "candidate").iterdir()) == sorted(candidate.PARTS)
    assert not (run.parent / candidate.NOTE).exists()
    # Killed after training and before the copy was whole: nothing is trained again.
    (run.parent / candidate.NOTE).write_text(json.dumps({"identity": identity(folder), "earlier": []}))
    shutil.rmtree(folder / "candidate")
    (folder / ".candidate.new").mkdir()
    before = (run / "metrics.jsonl").read_bytes()
    assert dvc_stages.main(arguments) == 0
    assert only_run(run.parent) == run
    assert (run / "metrics.jsonl").read_bytes() == before
    assert not (folder / ".candidate.new").exists()
    # Asked for again after it has succeeded (`dvc repro --force`), it trains anew.
    assert dvc_stages.main(arguments) == 0
    assert len(list(run.parent.glob("run_*"))) == 2


def identity(folder: Path) -> str:
    config = parse_config(json.loads((folder / "candidate" / "config.json").read_text()), "test")
    version = json.loads((folder / "prepared.json").read_text())["data_version"]
    return candidate.identify(config, version)


@pytest.mark.slice("runs that can't be continued", of=3)
@pytest.mark.parametrize("change", ["recipe", "checkpoints", "note"])
def test_a_run_that_cant_be_continued_is_left_and_a_new_one_trained(begun: tuple[list[str], Path], change: str) -> None:
    arguments, run = begun
    config = run.parent.parent / "small.yaml"
    values = yaml.safe_load(config.read_text())
    if change == "recipe":
        values["seed"] = 5
    elif change == "checkpoints":
        for path in (run / "checkpoints").glob("*.pt"):
            path.write_bytes(b"damaged")
    else:
        (run.parent / candidate.NOTE).write_text("{")
    config.write_text(yaml.safe_dump(values))
    assert dvc_stages.main(arguments) == 0
    (new,) = set(run.parent.glob("run_*")) - {run}
    card = json.loads((run.parent.parent / "candidate" / "production.json").read_text())
    assert card["run"] == new.name


def test_a_candidate_whose_files_dont_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="run `dvc repro` to train one"):
        candidate.load_candidate(tmp_path)
    weights = tmp_path / "production.pth"
    weights.write_bytes(b"weights")
    card = {"weights_sha256": sha256_file(weights), "onnx_sha256": "0" * 64}
    (tmp_path / "production.json").write_text(json.dumps(card))
    with pytest.raises(ModelDamagedError, match=r"production\.onnx isn't the file"):
        candidate.load_candidate(tmp_path)


def test_another_test_split_than_prepared_is_refused(tmp_path: Path) -> None:
    photos(tmp_path, 12)
    config = config_in(tmp_path)
    facts = dvc_stages.prepare(config, tmp_path / "prepared.json")
    assert len(dvc_stages.frozen_test_split(config, facts["test_version"])) == facts["splits"]["test"]
    assert dvc_stages.prepare(config, tmp_path / "again.json") == facts
    stem = dvc_stages.frozen_test_split(config, facts["test_version"])[0].pair.stem
    for kind in ("images", "masks"):
        next((config.data.folder / kind).glob(f"{stem}.*")).unlink()
    with pytest.raises(ResumeMismatchError, match="run `dvc repro` again"):
        dvc_stages.frozen_test_split(config, facts["test_version"])
    shutil.rmtree(config.data.folder)
    with pytest.raises(DataNotFoundError):
        dvc_stages.frozen_test_split(config, facts["test_version"])
