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
from demo_process import DemoProcess
from loop_shop import tiny
from s3_server import require_tool

from wms.project import Project, read_project
from wms.registry.chain import SUFFIX
from wms.registry.gate_tries import SUFFIX as VERDICTS
from wms_ops.git.command import Git
from wms_ops.loop.contexts import local_cloud
from wms_ops.machine.storage import DVC_URL
from wms_ops.runs.record import RunOutcome
from wms_ops.storage.config import URL_VARIABLE, parse_remote
from wms_ops.storage.marker import owner_of
from wms_ops.storage.remote import S3Remote

pytestmark = pytest.mark.slice("whole demos", of=2, number=1)

ROOT = Path(__file__).resolve().parents[2]
NAMES = Project("gas-meters", "Gas Meters", "gas.reading", "master", "upstream", "eu-west-1")
USUAL = {"main", "origin", "water-meter-segmentation"}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This project as it lies on the disk, in a repository of its own, which `wms init` gave the other names."""
    folder = tmp_path_factory.mktemp("names")
    target = folder / "their copy"
    Git(folder)("clone", "--quiet", "--no-hardlinks", str(ROOT), str(target))
    for name in Git(ROOT).names("ls-files", "-z", "--cached", "--others", "--exclude-standard"):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
        else:
            (target / name).unlink(missing_ok=True)
    Git(target)("remote", "rename", "origin", NAMES.remote)
    options = [f"--project={NAMES.project}", f"--model={NAMES.model}", f"--experiment={NAMES.experiment}"]
    options += [f"--main-branch={NAMES.main_branch}", f"--remote={NAMES.remote}", f"--region={NAMES.region}"]
    command = [sys.executable, "-m", "wms_ops", "init", *options]
    done = subprocess.run(command, cwd=target, env=environ(target), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


def environ(copy: Path) -> dict[str, str]:
    """The copy's own code; no setting of this process's names another file of names."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WMS_")}
    paths = os.pathsep.join(str(copy / part) for part in ("WMS/src", "devops/src"))
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}


@pytest.fixture(scope="module")
def demo(copy: Path) -> Iterator[DemoProcess]:
    """The copy's demo, with the gate off, so that the bad masks pass, too."""
    require_tool("weed")
    recipe = copy.with_name("tiny.yaml")
    recipe.write_text(yaml.safe_dump(tiny({"mode": "off"}, epochs=3)), encoding="utf-8")
    folder = copy.with_name("demo")
    command = [sys.executable, "-m", "wms_ops.demo", "--folder", str(folder), "--recipe", str(recipe)]
    demo = DemoProcess.start(folder, [*command, "--photos", "12,10,10"], cwd=copy, environ=environ(copy))
    yield demo
    demo.close()


def test_the_copy_has_the_names_that_init_was_given(copy: Path) -> None:
    assert read_project(copy / "wms.toml") == NAMES


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_each_push_of_the_demo_is_merged(demo: DemoProcess, number: int) -> None:
    assert demo.wait_for_run(number).outcome is RunOutcome.MERGED


@pytest.mark.timeout(300)
def test_the_demo_under_other_names_touches_none_of_the_usual_ones(demo: DemoProcess) -> None:
    assert demo.finish() == 1, demo.said[-3000:]
    assert [one.outcome for one in demo.runs()] == [RunOutcome.MERGED] * 3
    assert "Traceback" not in demo.said
    for words in ("git push upstream master", "wms sync --from s3", "wms predict", "wms rollback --yes"):
        assert words in demo.said, words
    check_git(demo.folder)
    check_mlflow(demo.folder)
    check_bucket(demo.folder)


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
    variables = cloud.environ()
    assert variables[URL_VARIABLE] == DVC_URL
    assert owner_of(S3Remote(parse_remote("", environ=variables), variables)) == NAMES.project
