"""The whole demo by a copy of this project that `wms init` gave other names: those are used, the usual ones never."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from loop_shop import tiny
from s3_server import require_tool

from wms.project import Project, read_project
from wms.registry.chain import SUFFIX
from wms.registry.gate_tries import SUFFIX as VERDICTS
from wms_ops.git.command import Git
from wms_ops.loop.contexts import local_cloud, run_store
from wms_ops.machine.storage import DVC_URL
from wms_ops.runs.record import RunOutcome
from wms_ops.storage.config import URL_VARIABLE, parse_remote
from wms_ops.storage.marker import owner_of
from wms_ops.storage.remote import S3Remote

ROOT = Path(__file__).resolve().parents[2]
NAMES = Project("gas-meters", "Gas Meters", "gas.reading", "master", "upstream", "eu-west-1")
USUAL = {"main", "origin", "water-meter-segmentation"}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """This project as it lies on the disk, in a repository of its own."""
    require_tool("weed")
    target = tmp_path / "their copy"
    Git(tmp_path)("clone", "--quiet", "--no-hardlinks", str(ROOT), str(target))
    for name in Git(ROOT).names("ls-files", "-z", "--cached", "--others", "--exclude-standard"):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
        else:
            (target / name).unlink(missing_ok=True)
    return target


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "demo"
    yield folder
    if (folder / "loop").exists():
        local_cloud(folder / "loop").close()


def run(copy: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A module of the copy's own code; no setting of this process's names another file of names."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("WMS_")}
    paths = os.pathsep.join(str(copy / part) for part in ("WMS/src", "devops/src"))
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=copy,
        env={**environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.mark.timeout(300)
def test_the_demo_under_other_names_touches_none_of_the_usual_ones(copy: Path, folder: Path, tmp_path: Path) -> None:
    Git(copy)("remote", "rename", "origin", NAMES.remote)
    options = [f"--project={NAMES.project}", f"--model={NAMES.model}", f"--experiment={NAMES.experiment}"]
    options += [f"--main-branch={NAMES.main_branch}", f"--remote={NAMES.remote}", f"--region={NAMES.region}"]
    done = run(copy, "wms_ops", "init", *options)
    assert done.returncode == 0, done.stdout
    assert read_project(copy / "wms.toml") == NAMES
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(tiny({"mode": "off"}, epochs=3)), encoding="utf-8")
    arguments = ["--folder", str(folder), "--recipe", str(recipe), "--photos", "12,10,10"]
    done = run(copy, "wms_ops.demo", *arguments)
    assert done.returncode == 1, done.stdout[-3000:]  # the gate is off, so that the bad masks pass, too
    assert [one.outcome for one in run_store(folder / "loop").runs()] == [RunOutcome.MERGED] * 3
    assert "Traceback" not in done.stdout
    for words in ("git push upstream master", "wms sync --from s3", "wms predict", "wms rollback --yes"):
        assert words in done.stdout, words
    check_git(folder)
    check_mlflow(folder)
    check_bucket(folder)


def check_git(folder: Path) -> None:
    """Branches of the origin, and the names in the clone of the person who labels photos."""
    origin = Git(folder / "origin.git")
    assert origin("symbolic-ref", "HEAD") == "refs/heads/master"
    assert set(origin("for-each-ref", "--format=%(refname)").split()) == {
        "refs/heads/master",
        "refs/heads/pull-requests",
        *(f"refs/tags/model-v{number}" for number in (1, 2, 3)),
    }
    clone = Git(folder / "clone")
    assert clone("remote") == NAMES.remote
    assert not USUAL & set(clone("for-each-ref", "--format=%(refname)").replace("/", " ").split())
    assert not USUAL & set(clone("config", "--get-regexp", "^(remote|branch)").replace(".", " ").split())
    assert "gas-meters" in (folder / "clone" / "wms.toml").read_text()


def check_mlflow(folder: Path) -> None:
    (database,) = (folder / "loop").rglob("mlflow.db")
    with closing(sqlite3.connect(database)) as found:
        models = {name for (name,) in found.execute("SELECT name FROM registered_models")}
        experiments = {name for (name,) in found.execute("SELECT name FROM experiments")}
        versions = found.execute("SELECT COUNT(*) FROM model_versions WHERE name = ?", [NAMES.model]).fetchone()
    assert models == {NAMES.model, NAMES.model + SUFFIX, NAMES.model + VERDICTS}
    assert experiments == {"Default", NAMES.experiment}
    assert versions == (3,)


def check_bucket(folder: Path) -> None:
    cloud = local_cloud(folder / "loop", lambda _: None)
    cloud.storage_up()
    environ = cloud.environ()
    assert environ[URL_VARIABLE] == DVC_URL
    assert owner_of(S3Remote(parse_remote("", environ=environ), environ)) == NAMES.project
