"""Workflows hold no logic: pinned actions, few rights, one command a step."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job.get("steps", [])]


def test_there_are_workflows() -> None:
    assert WORKFLOWS


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_is_thin_and_has_few_rights(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {}
    assert "pull_request_target" not in text
    assert len(text.splitlines()) <= 120
    for job in workflow["jobs"].values():
        assert "permissions" in job
        assert job["timeout-minutes"] <= 360
    for step in steps(workflow):
        if "uses" in step:
            assert PINNED.fullmatch(step["uses"]), step["uses"]
        else:
            assert len(step["run"].strip().splitlines()) <= 5
            assert "${{" not in step["run"]
            assert "<<" not in step["run"]


def test_the_reaper_runs_by_itself_is_never_cut_off_and_needs_no_account() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "reaper.yml").read_text(encoding="utf-8"))
    triggers = workflow[True]  # YAML's `on`
    minutes = [one["cron"].split()[0] for one in triggers["schedule"]]
    assert all("0" not in one.split(",") and "*" not in one for one in minutes)
    assert "dry-run" in triggers["workflow_dispatch"]["inputs"]
    assert workflow["concurrency"] == {"group": "reaper", "cancel-in-progress": False}
    (job,) = workflow["jobs"].values()
    assert job["permissions"] == {"contents": "read", "id-token": "write"}
    assert not [name for name in job["env"] if "KEY" in name], "keys are for the step that needs them"
    told, *others = job["steps"]
    assert told["if"] == "env.CONFIGURED == ''"
    assert told["run"].startswith('echo "::notice::')
    guards = {"env.CONFIGURED != ''", "env.CONFIGURED == 'keys'", "vars.AWS_ROLE_ARN != ''"}
    assert {step["if"] for step in others} == guards
    assert sum("wms_ops.cloud.aws.reap" in step.get("run", "") for step in others) == 2  # with a role, or with keys


def test_the_clouds_teardown_runs_in_every_case_and_needs_nothing_that_may_be_missing() -> None:
    text = (ROOT / ".github" / "workflows" / "cloud.yml").read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["concurrency"]["cancel-in-progress"] is False
    jobs = workflow["jobs"]
    down = jobs.pop("down")
    assert down["if"] == "always()"
    assert set(down["needs"]) == set(jobs), "whatever may start something is waited for"
    assert down["permissions"]["id-token"] == "write", "its own login: the first job's session may be over"
    assert "needs." not in text, "no output of another job is needed"
    assert down["steps"][-1]["run"].endswith("-m wms_ops.cloud.aws down")
    assert all("if" not in step for step in down["steps"])
