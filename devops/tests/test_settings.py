"""The variables of the environment: typed, read when asked, and the same in code, documents and .env.example."""

from __future__ import annotations

import ast
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from wms.errors import UsageError
from wms.paths import ROOT
from wms.settings import PatienceSettings, TorchrunSettings, TrackingSettings
from wms_ops.base.settings import GROUPS, BudgetSettings, InstanceSettings, LoopSettings, StepSettings, StoreSettings
from wms_ops.commands import settings
from wms_ops.loop.steps import TABLE

# Marks on this project's own processes, and what only workflows and shells use: no Python code takes them as a choice.
MARKS = {"WMS_CLOUD_ROLE", "WMS_PROCESS_MARK", "WMS_PROCESS_ROLE", "WMS_TERRAFORM_STARTER", "WMS_TERRAFORM_STATE"}
DECLARED = {name.upper() for group in GROUPS for name in group.model_fields}


def sources() -> Iterator[Path]:
    for folder in ("WMS", "devops"):
        yield from (path for path in (ROOT / folder).rglob("*.py") if "tests" not in path.parts)


def test_documents_and_example_are_what_the_types_say(tmp_path: Path) -> None:
    assert settings.main(["--folder", str(tmp_path)]) == 0
    for path in (settings.PAGE, settings.EXAMPLE):
        written = (tmp_path / path).read_text(encoding="utf-8")
        assert (ROOT / path).read_text(encoding="utf-8") == written, f"{path} is old; run `make settings`"


IN_WORKFLOWS = {"WMS_TFVARS"}
"""What only a workflow reads, from the variables of its environment at GitHub."""


def test_every_variable_of_ours_in_the_code_is_declared() -> None:
    found = {
        (node.value, path.name)
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if re.fullmatch(r"WMS_[A-Z0-9_]+", node.value)
    }
    assert len(found) > 5
    assert {one for one in found if one[0] not in DECLARED | MARKS | IN_WORKFLOWS} == set()


def test_the_tests_read_the_variables_of_ours_by_their_type() -> None:
    paths = [path for folder in ("WMS", "devops") for path in (ROOT / folder / "tests").glob("*.py")]
    ours = {name for name in DECLARED if name.startswith(("WMS_", "TF_PLUGIN_MIRROR"))}
    found = {
        (path.name, match)
        for path in paths
        for match in re.findall(r"""environ(?:\.get\(|\[)\s*["'](\w+)["']""", path.read_text(encoding="utf-8"))
        if match in ours
    }
    # A child process's code shows which of its parent's variables it got.
    assert found == {("test_process_marks.py", "WMS_CLOUD")}


def test_every_variable_of_ours_in_the_documents_is_declared() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    named = {name for page in pages for name in re.findall(r"\bWMS_[A-Z0-9_]+\b", page.read_text(encoding="utf-8"))}
    assert len(named) > 10
    assert named - DECLARED - IN_WORKFLOWS == set()


def test_each_variable_is_declared_once_with_a_meaning() -> None:
    names = [name for group in GROUPS for name in group.model_fields]
    assert len(names) == len(set(names))
    for group in GROUPS:
        for name, field in group.model_fields.items():
            assert field.description, name
            about = field.json_schema_extra
            assert isinstance(about, dict), name
            # The sentence about a wrong value needs both; a text can't be wrong.
            assert field.annotation is str or (about["give"] and about["example"]), name


def test_a_group_without_variables_has_its_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WMS_BUDGET_USD", "7")
    assert BudgetSettings.read({}).wms_budget_usd == 1.0
    assert BudgetSettings.read().wms_budget_usd == 7.0
    assert BudgetSettings.read({"WMS_BUDGET_USD": "  "}).wms_budget_usd == 1.0
    assert BudgetSettings.read({"WMS_BUDGET_USD": " 0.5 "}).wms_budget_usd == 0.5
    assert BudgetSettings.read({"wms_budget_usd": "9"}).wms_budget_usd == 1.0


@pytest.mark.parametrize(
    ("group", "name", "text", "hint"),
    [
        (PatienceSettings, "WMS_MLFLOW_WAIT", "soon", "give a number of seconds, such as 60."),
        (PatienceSettings, "WMS_MLFLOW_TIMEOUT", "0", "give a number of seconds, such as 60."),
        (BudgetSettings, "WMS_BUDGET_USD", "inf", "give a number of US dollars for each run, such as 1.50."),
        (LoopSettings, "WMS_SMOKE_LATENCY_S", "nan", "give a number of seconds, such as 5."),
        (InstanceSettings, "WMS_WAIT_MINUTES", "1441", "give a number of minutes, such as 30."),
        (TorchrunSettings, "WORLD_SIZE", "two", "give a whole number, such as 2."),
    ],
)
def test_a_wrong_value_is_one_sentence(group: type[BudgetSettings], name: str, text: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        group.read({name: text})
    assert str(caught.value) == f"{name} is {text!r}; {hint}"


def test_the_store_of_its_own_wins_over_the_address_for_all() -> None:
    both = {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1", "AWS_ENDPOINT_URL": "http://127.0.0.1:2"}
    assert StoreSettings.read(both).endpoint == "http://127.0.0.1:1"
    assert StoreSettings.read({**both, "AWS_ENDPOINT_URL_S3": ""}).endpoint == "http://127.0.0.1:2"
    assert StoreSettings.read({}).endpoint is None


def test_every_value_that_a_step_needs_can_be_given() -> None:
    needed = {f"wms_{need}" for step in TABLE.values() for need in step.needs}
    assert needed == StepSettings.model_fields.keys()


def test_a_secret_is_in_no_text() -> None:
    assert "hunter2" not in repr(TrackingSettings.read({"MLFLOW_TRACKING_URI": "http://me:hunter2@host"}))


def test_variables_are_read_while_another_thread_changes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's clients change variables in threads."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    over = threading.Event()

    def change() -> None:
        while not over.is_set():
            os.environ["WMS_CHANGED"] = "1"
            del os.environ["WMS_CHANGED"]

    changing = threading.Thread(target=change)
    changing.start()
    try:
        for _ in range(2000):
            assert TrackingSettings.read().mlflow_tracking_uri == "http://localhost:5000"
    finally:
        over.set()
        changing.join()
