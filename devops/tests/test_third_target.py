"""A third target is one module and one line of the factory's table: factory, places and steps work with it."""

from __future__ import annotations

import ast
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from shed_target import Shed

from wms.errors import UsageError
from wms.quiet import QUIET
from wms_ops.base.errors import BudgetError
from wms_ops.base.layout import RECIPE
from wms_ops.commands.main import run
from wms_ops.git.command import Git
from wms_ops.loop.contexts import pulls_of, run_store
from wms_ops.machine.types import CloudState
from wms_ops.pulls.gh_pulls import GhPulls
from wms_ops.pulls.local_pulls import LocalPulls
from wms_ops.runs.record import RunOutcome, StepState
from wms_ops.targets import factory
from wms_ops.targets.aws.cloud import AwsCloud
from wms_ops.targets.local import LocalCloud

HOUSE = Path(__file__).resolve().parents[2]
BRANCH = "data/20261127-100000"


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that a third target takes beside its own module."""
    monkeypatch.setitem(factory.TARGETS, "shed", "shed_target")
    monkeypatch.setenv("WMS_CLOUD", "shed")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A loop's folder with a workspace whose origin has a recipe; nothing of the shed is left at the end."""
    origin, work = tmp_path / "origin.git", tmp_path / "loop" / "workspace"
    Git(tmp_path)("init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    Git(tmp_path)("clone", "--quiet", origin.as_uri(), str(work))
    git = Git(work, {"user.name": "Ada", "user.email": "ada@example.org"})
    (work / RECIPE).parent.mkdir(parents=True)
    shutil.copy(HOUSE / RECIPE, work / RECIPE)
    git("add", "--all")
    git("commit", "--quiet", "-m", "A recipe")
    git("push", "--quiet", "origin", "HEAD:main")
    yield tmp_path / "loop"
    Shed(tmp_path / "loop" / "shed").down()


def step(folder: Path, name: str) -> int:
    """One step of the loop by its command, in this process."""
    return run(["loop", name, "--branch", BRANCH, "--repo", str(folder / "workspace"), "--folder", str(folder)])


def test_the_factory_opens_what_its_table_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(factory.open_cloud("shed", tmp_path), Shed)
    found = factory.cloud_in(tmp_path)
    assert isinstance(found, Shed) and found.folder == tmp_path / "shed"
    assert factory.cloud_of(tmp_path) is None  # never used
    found_there = tmp_path / factory.LOOP / "shed"
    found_there.mkdir(parents=True)
    assert factory.cloud_of(tmp_path) == Shed(found_there)
    with pytest.raises(UsageError, match="no cloud 'barn'; choose one of: local, aws, shed"):
        factory.open_cloud("barn", tmp_path)
    monkeypatch.setenv("WMS_CLOUD", "")
    assert isinstance(factory.cloud_in(tmp_path), LocalCloud)
    monkeypatch.setenv("WMS_CLOUD", "barn")
    with pytest.raises(UsageError, match="WMS_CLOUD is 'barn', but no target has that name; choose one of: local"):
        factory.cloud_in(tmp_path)


def test_a_target_with_an_account_has_its_pull_requests_at_github(tmp_path: Path) -> None:
    cloud = factory.cloud_in(tmp_path)
    assert isinstance(pulls_of(Git(tmp_path), "https://github.com/ana/meters", cloud), GhPulls)
    assert isinstance(pulls_of(Git(tmp_path), "ssh://nas/meters.git", cloud), LocalPulls)


def test_the_loops_steps_budget_up_and_down_work_with_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WMS_PHOTOS_TOTAL", "360")
    before = dict(os.environ)
    shed = Shed(folder / "shed")
    assert step(folder, "budget") == 0
    assert "On a m6i.xlarge on demand in eu-central-1: about" in capsys.readouterr().out
    assert step(folder, "up") == 0
    address = shed.endpoints()
    assert address is not None and f"MLflow answers at {address.mlflow}." in capsys.readouterr().out
    assert shed.status() is CloudState.RUNNING
    (record,) = run_store(folder).runs()
    assert [one.run for one in shed.sessions()] == [record.id]
    assert record.outputs["mlflow_uri"] == address.mlflow
    assert step(folder, "down") == 0
    said = capsys.readouterr().out
    assert "The instance is gone;" in said and " of it cost " in said
    assert shed.status() is CloudState.ABSENT
    (record,) = run_store(folder).runs()
    assert {record.step(name).state for name in ("budget", "up", "down")} == {StepState.DONE}
    assert record.outcome is not RunOutcome.RUNNING
    assert dict(os.environ) == before | QUIET


def test_a_month_without_money_starts_nothing_that_is_billed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WMS_PHOTOS_TOTAL", "360")
    monkeypatch.setenv("WMS_BUDGET_MONTH_USD", "0.01")
    with pytest.raises(BudgetError, match="this session may cost up to"):
        step(folder, "budget")


def test_no_code_asks_which_target_it_has() -> None:
    """What differs between targets is said by the protocol, so that a third one needs no line elsewhere."""
    targets, asked = {LocalCloud.__name__, AwsCloud.__name__}, []
    for path in sorted((HOUSE / "devops/src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
                names = {one.id for one in ast.walk(node.args[1]) if isinstance(one, ast.Name)}
                asked += [f"{path.name}:{node.lineno}"] if names & targets else []
    assert asked == []
