"""Workflows hold no logic: pinned actions, few rights, one command a step."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from servers import require_tool

from wms_ops.git.command import Git
from wms_ops.storage.names import holder_of

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONS = sorted((ROOT / ".github" / "actions").glob("*/action.yml"))
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")
SECRET = re.compile(r"secrets\.|github\.token|GITHUB_TOKEN")
IS_SET = re.compile(r"secrets\.\w+ && '\w+'")  # tells whether a secret is set, not its value
STARTS = ("wms cloud up", "wms cloud deploy")


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
        check_step(step)


def check_step(step: dict[str, Any]) -> None:
    """Pinned, or an action of this repository; otherwise a command or two without logic and without values in it."""
    if "uses" in step:
        own = [f"./{path.parent.relative_to(ROOT).as_posix()}" for path in ACTIONS]
        assert step["uses"] in own or PINNED.fullmatch(step["uses"]), step["uses"]
    else:
        assert len(step["run"].strip().splitlines()) <= 5
        assert "${{" not in step["run"]
        assert not re.search(r"(?<!<)<<(?!<)", step["run"]), "no heredoc"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
@pytest.mark.attack(
    "a compromised dependency or release",
    "keys in a workflow's install step",
    "keys in the steps that use them",
)
def test_no_key_and_no_token_is_there_while_packages_are_installed(path: Path) -> None:
    """A package's build, or a job's first checkout, sees neither: they stand in the steps that need them."""
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    kept = {
        name: text for where in (workflow, *workflow["jobs"].values()) for name, text in where.get("env", {}).items()
    }
    assert not [name for name, text in kept.items() if SECRET.search(str(text)) and not IS_SET.search(str(text))]
    for job in workflow["jobs"].values():
        own = [step.get("uses", "").startswith("./.github/actions/") for step in job["steps"]]  # takes keys as inputs
        installs = [
            is_own or "make install" in step.get("run", "") for is_own, step in zip(own, job["steps"], strict=True)
        ]
        last = installs.index(True) if True in installs else len(installs) - 1  # who installs nothing needs no key
        assert not [
            step
            for step in job["steps"][: last + (not own[last])]
            if SECRET.search(f"{step.get('env')} {step.get('with')}")
        ]
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", ACTIONS, ids=lambda path: path.parent.name)
def test_an_action_of_our_own_installs_before_it_takes_keys(path: Path) -> None:
    found = yaml.safe_load(path.read_text(encoding="utf-8"))["runs"]["steps"]
    install = next(number for number, step in enumerate(found) if "make install" in step.get("run", ""))
    assert not [step for step in found[: install + 1] if "inputs." in str(step) or "role-to-assume" in str(step)]


def test_git_asks_for_the_token_of_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of data.yml lead this project's git, and its children, to the token in GH_TOKEN; none is stored."""
    require_tool("gh")
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "data.yml").read_text(encoding="utf-8"))
    for name, text in workflow["env"].items():
        monkeypatch.setenv(name, str(text).replace("${{ github.server_url }}", "https://github.com"))
    monkeypatch.setenv("GIT_TERMINAL_PROMPT", "0")
    monkeypatch.setenv("GH_CONFIG_DIR", str(tmp_path / "gh"))
    git = Git(tmp_path)
    git("init", "-q")
    asked = b"protocol=https\nhost=github.com\npath=ana/meters\n\n"
    assert git.attempt("credential", "fill", data=asked).returncode
    monkeypatch.setenv("GH_TOKEN", "a-token-of-one-job")
    assert b"password=a-token-of-one-job" in git.raw("credential", "fill", data=asked)
    assert "token" not in (tmp_path / ".git" / "config").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", ACTIONS, ids=lambda path: path.parent.name)
def test_an_action_of_our_own_is_thin(path: Path) -> None:
    action = yaml.safe_load(path.read_text(encoding="utf-8"))
    for step in action["runs"]["steps"]:
        check_step(step)
        assert "uses" in step or step["shell"] == "bash"


def test_the_teardown_job_runs_in_every_case_and_needs_nothing_but_names() -> None:
    text = (ROOT / ".github" / "workflows" / "cloud.yml").read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert set(workflow[True]) == {"workflow_dispatch", "workflow_call"}  # YAML's `on`
    assert workflow["concurrency"]["cancel-in-progress"] is False
    assert "WMS_ENVIRONMENT" in workflow["concurrency"]["group"]
    jobs = workflow["jobs"]
    starting = {name for name, job in jobs.items() if any(word in str(job["steps"]) for word in STARTS)}
    down = jobs["down"]
    assert down["if"] == "always()"
    assert starting and starting == set(down["needs"]) == set(jobs) - {"down"}
    assert "needs." not in text and "outputs" not in text, "a cancel leaves no outputs"
    assert "secrets.AWS_SECRET" not in str(workflow["env"]), "keys are for the step that needs them"
    for job in jobs.values():  # each has a login of its own, since a session lasts an hour
        assert job["permissions"] == {"contents": "read", "id-token": "write"}
        (login,) = [step for step in job["steps"] if step.get("uses") == "./.github/actions/aws"]
        commands = [step for step in job["steps"] if ".venv/bin/wms" in step.get("run", "")]
        assert {step["if"] for step in [login, *commands]} == {"env.CONFIGURED != ''"}, "no account: skipped"
    told, *_, last = down["steps"]
    assert told["if"] == "env.CONFIGURED == ''" and told["run"].startswith('echo "::notice::')
    assert last["run"] == '.venv/bin/wms cloud down --target aws ${FORCE:+"$FORCE"}'
    assert "always()" not in str(down["steps"])


def test_all_jobs_of_a_run_are_one_holder_also_at_a_second_attempt() -> None:
    job = {"GITHUB_REPOSITORY": "ana/meters", "GITHUB_RUN_ID": "17", "GITHUB_JOB": "up", "GITHUB_RUN_ATTEMPT": "1"}
    assert holder_of(job) == holder_of({**job, "GITHUB_JOB": "down", "GITHUB_RUN_ATTEMPT": "2", "HOSTNAME": "other"})
    assert holder_of(job) != holder_of({**job, "GITHUB_RUN_ID": "18"})


def test_the_reaper_runs_by_itself_is_never_cut_off_and_needs_no_account() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "reaper.yml").read_text(encoding="utf-8"))
    triggers = workflow[True]  # YAML's `on`
    minutes = [one["cron"].split()[0] for one in triggers["schedule"]]
    assert all("0" not in one.split(",") and "*" not in one for one in minutes)
    assert "dry-run" in triggers["workflow_dispatch"]["inputs"]
    assert workflow["concurrency"] == {"group": "reaper", "cancel-in-progress": False}
    (job,) = workflow["jobs"].values()
    assert job["permissions"] == {"contents": "read", "id-token": "write", "issues": "write"}
    assert not [name for name in job["env"] if "KEY" in name], "keys are for the step that needs them"
    told, *others = job["steps"]
    assert told["if"] == "env.CONFIGURED == ''"
    assert told["run"].startswith('echo "::notice::')
    guards = {"env.CONFIGURED != ''", "env.CONFIGURED == 'keys'", "vars.AWS_ROLE_ARN != ''"}
    assert {step["if"] for step in others} == guards
    assert sum("wms cloud reap" in step.get("run", "") for step in others) == 2  # with a role, or with keys
