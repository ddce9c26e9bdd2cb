"""`wms github setup` and `wms github check`, by the real gh: what is changed, refused, left alone and said."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from github_fake import HOST, REPO, FakeGitHub, fake_github, refusal
from github_fake_settings import UPGRADE, FakeSettings

from wms.errors import DECLINED, UNHEALTHY, UsageError
from wms_ops.base.errors import (
    AccessDeniedError,
    CredentialsMissingError,
    PullRequestError,
    StoreUnreachableError,
)
from wms_ops.commands import checks_github, github_settings
from wms_ops.commands.finding import State
from wms_ops.commands.main import main
from wms_ops.git.command import Git

ARN = "arn:aws:iam::123456789012:role/wms-main-eu-central-1-github"
NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
KEYS = dict(zip(NAMES, ("AKIAEXAMPLE", "abcdEFGHefgh", "zyxwVUTSzyxw"), strict=True))
TFVARS = 'instance_type = "t3.large"\nhours = 2\n'


@dataclass
class Desk:
    """A clone whose origin is at the fake GitHub."""

    repo: Path
    github: FakeGitHub
    fake: FakeSettings
    capture: pytest.CaptureFixture[str]
    said: str = ""
    refused: str = ""

    def run(self, *words: str) -> int:
        code = main(["github", *words, "--repo", str(self.repo)])
        captured = self.capture.readouterr()
        self.said, self.refused = captured.out, captured.err
        assert captured.err.count("\n") <= 1
        return code

    def setup(self, *words: str) -> int:
        return self.run("setup", "--yes", *words)

    def checks(self) -> list[dict[str, Any]]:
        (rule,) = [one for one in self.fake.rulesets[0]["rules"] if one["type"] == "required_status_checks"]
        found: list[dict[str, Any]] = rule["parameters"]["required_status_checks"]
        return found


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    for name in (*KEYS, "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    repo = tmp_path / "a clone"
    repo.mkdir()
    Git(repo)("init", "--quiet", "--initial-branch=main")
    Git(repo)("remote", "add", "origin", f"https://{HOST}/{REPO}.git")
    (repo / "wms.toml").write_text('region = "eu-west-1"\n')
    (repo / "infrastructure" / "terraform").mkdir(parents=True)
    (repo / "infrastructure" / "terraform" / "wms.tfvars").write_text(TFVARS)
    with fake_github() as github:
        for name, value in github.environ.items():
            monkeypatch.setenv(name, value)
        yield Desk(repo, github, FakeSettings(github), capsys)


@pytest.fixture
def logged(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gh before the real one on PATH, which writes its command line into this file."""
    real, log = shutil.which("gh"), tmp_path / "argv"
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "gh"
    script.write_text(f"#!/bin/sh\ntr '\\0' ' ' < /proc/$$/cmdline >> '{log}'\nexec {real} \"$@\"\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    return log


def assert_all_is_set(fake: FakeSettings) -> None:
    assert fake.repository["allow_squash_merge"] and fake.repository["allow_auto_merge"]
    assert fake.actions == {"default_workflow_permissions": "read", "can_approve_pull_request_reviews": True}
    assert fake.environment is not None
    assert fake.environment["deployment_branch_policy"] == {"protected_branches": False, "custom_branch_policies": True}
    assert [(one["name"], one["type"]) for one in fake.policies] == [("main", "branch")]
    (ruleset,) = fake.rulesets
    assert (ruleset["name"], ruleset["target"], ruleset["enforcement"]) == ("wms", "branch", "active")
    assert ruleset["conditions"] == {"ref_name": {"include": ["~DEFAULT_BRANCH"], "exclude": []}}
    assert ruleset["bypass_actors"] == []
    assert [one["type"] for one in ruleset["rules"]] == ["deletion", "non_fast_forward", "required_status_checks"]
    assert fake.labels == {"wms"}
    assert fake.variables["AWS_REGION"] == "eu-west-1" and fake.variables["WMS_TFVARS"] == TFVARS


def test_all_is_set_and_a_second_time_nothing_must_change(desk: Desk) -> None:
    assert desk.run("check") == UNHEALTHY
    assert desk.said.count("-> wms github setup\n") >= 6 and "none" in desk.said
    assert desk.setup("--role-arn", ARN) == 0
    assert_all_is_set(desk.fake)
    assert desk.fake.variables["AWS_ROLE_ARN"] == ARN
    assert desk.checks() == [{"context": "wms/gate", "integration_id": 15368}]
    assert "All of it is set." in desk.said and TFVARS not in desk.said
    made = list(desk.fake.changes)
    for words in ((), ("--role-arn", ARN), ("--dry-run",)):
        assert desk.setup(*words) == 0
        assert desk.said == "Nothing must change.\n"
    assert desk.run("check") == 0
    assert "MISSING" not in desk.said and "optional" not in desk.said and desk.said.count(" fine ") == 7
    assert desk.fake.changes == made


def test_a_dry_run_names_each_change_and_makes_none(desk: Desk) -> None:
    assert desk.setup("--dry-run", "--role-arn", ARN) == 0
    for part in (
        *("allow_auto_merge: off, will be on", "default_workflow_permissions: write, will be read", "ruleset wms"),
        *("environment wms: isn't there", "main may deploy", "AWS_REGION: will be eu-west-1", ARN, "label wms"),
        "Nothing was changed",
    ):
        assert part in desk.said
    assert desk.fake.changes == []


def test_it_asks_first(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert desk.run("setup") == UsageError.exit_code
    assert "--yes" in desk.refused
    monkeypatch.setattr(github_settings, "agrees", lambda *_: False)
    assert desk.run("setup") == DECLINED
    assert desk.fake.changes == []


def test_it_goes_on_after_each_request_that_was_the_last(desk: Desk) -> None:
    assert desk.setup() == 0
    whole = list(desk.fake.changes)
    assert len(whole) == 8
    for last in range(1, len(whole)):
        desk.fake = FakeSettings(desk.github)
        desk.fake.last = last
        assert desk.setup() == StoreUnreachableError.exit_code
        assert desk.fake.changes == whole[:last]
        desk.fake.last = None
        assert desk.setup() == 0
        assert desk.fake.changes == whole
        assert_all_is_set(desk.fake)


def test_another_branchs_way_in_is_named_and_closed(desk: Desk) -> None:
    assert desk.setup() == 0
    desk.fake.policies += [
        {"id": 1, "name": "data/*", "type": "branch"},
        {"id": 2, "name": "main", "type": "tag"},
    ]
    assert desk.run("check") == UNHEALTHY
    assert "the branch data/* may deploy" in desk.said and "the tag main may deploy" in desk.said
    assert desk.setup() == 0
    assert "the branch data/* may deploy to it, will not any more" in desk.said
    assert_all_is_set(desk.fake)


def test_an_environment_for_every_branch_keeps_its_reviewers(desk: Desk) -> None:
    person = {"type": "User", "reviewer": {"id": 7, "login": "ana"}}
    rules = [{"type": "required_reviewers", "reviewers": [person]}, {"type": "wait_timer", "wait_timer": 5}]
    desk.fake.environment = {"name": "wms", "deployment_branch_policy": None, "protection_rules": rules}
    assert desk.setup() == 0
    assert_all_is_set(desk.fake)
    kept = {rule["type"]: rule for rule in desk.fake.environment["protection_rules"]}
    assert kept["wait_timer"]["wait_timer"] == 5
    assert kept["required_reviewers"]["reviewers"] == [{"type": "User", "reviewer": {"id": 7}}]


def test_a_ruleset_that_somebody_loosened_is_mended_in_place(desk: Desk) -> None:
    assert desk.setup() == 0
    (ruleset,) = desk.fake.rulesets
    number = ruleset["id"]
    del ruleset["rules"][0]
    ruleset["rules"].append({"type": "pull_request", "parameters": {"required_approving_review_count": 1}})
    ruleset |= {"enforcement": "disabled", "bypass_actors": [{"actor_id": 5}]}
    desk.checks()[:] = [{"context": "wms/gate"}, {"context": "tests"}]
    assert desk.setup() == 0
    assert "is disabled" in desk.said and "may be bypassed" in desk.said
    assert (ruleset["id"], ruleset["enforcement"], ruleset["bypass_actors"]) == (number, "active", [])
    kinds = {one["type"] for one in ruleset["rules"]}
    assert kinds == {"deletion", "non_fast_forward", "pull_request", "required_status_checks"}
    assert desk.checks() == [{"context": "tests"}, {"context": "wms/gate", "integration_id": 15368}]
    assert desk.setup() == 0 and desk.said.startswith("Nothing must change.")


def test_the_check_of_a_github_app_stays_its_own(desk: Desk) -> None:
    assert desk.setup("--app-id", "4711") == 0
    assert desk.checks() == [{"context": "wms/gate", "integration_id": 4711}]
    assert desk.setup() == 0 and desk.said.startswith("Nothing must change.")
    assert desk.setup("--app-id", "15368") == 0
    assert desk.checks() == [{"context": "wms/gate", "integration_id": 15368}]


def test_main_need_not_be_the_default_branch(desk: Desk) -> None:
    desk.fake.repository["default_branch"] = "develop"
    assert desk.setup() == 0
    assert desk.fake.rulesets[0]["conditions"]["ref_name"]["include"] == ["refs/heads/main"]


def test_changed_settings_here_are_changed_there(desk: Desk) -> None:
    assert desk.setup() == 0
    (desk.repo / "wms.toml").write_text('region = "eu-north-1"\n')
    desk.fake.variables["MINE"] = "1"
    desk.fake.variables |= {f"V{number}": "1" for number in range(60)}  # more than a page
    assert desk.setup() == 0
    assert desk.fake.variables["AWS_REGION"] == "eu-north-1" and desk.fake.variables["MINE"] == "1"
    assert desk.fake.changes[-1] == "PATCH environments/wms/variables/AWS_REGION"


def test_keys_are_seen_nowhere_but_in_gh(desk: Desk, logged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    assert desk.setup("--keys") == 0
    assert set(desk.fake.secrets) == set(KEYS)
    argv = logged.read_text()
    assert "secret set AWS_SECRET_ACCESS_KEY --env wms" in argv
    for value in KEYS.values():
        assert value not in argv + desk.said + desk.refused
        assert value not in " ".join(map(repr, desk.fake.secrets.values()))
    first = dict(desk.fake.secrets)
    monkeypatch.delenv("AWS_SESSION_TOKEN")
    assert desk.setup("--keys") == 0  # newer keys, without a session's token
    assert set(desk.fake.secrets) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert first["AWS_ACCESS_KEY_ID"] != desk.fake.secrets["AWS_ACCESS_KEY_ID"]
    assert desk.run("check") == 0


def test_keys_that_are_not_to_be_stored(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert desk.setup("--keys") == CredentialsMissingError.exit_code
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:8333")
    assert desk.setup("--keys") == UsageError.exit_code
    assert "http://127.0.0.1:8333, not of AWS" in desk.refused
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    with pytest.raises(SystemExit):
        desk.setup("--keys", "--role-arn", ARN)
    with pytest.raises(SystemExit):
        desk.setup("--role-arn", "wms-github")
    assert desk.fake.changes == []
    desk.capture.readouterr()
    assert desk.setup("--role-arn", ARN) == 0
    assert desk.setup("--keys") == UsageError.exit_code
    assert ARN in desk.refused and not desk.fake.secrets
    desk.fake.secrets["AWS_ACCESS_KEY_ID"] = "x"  # of an earlier day
    assert desk.run("check") == 0
    assert "-> gh secret delete AWS_ACCESS_KEY_ID --env wms" in desk.said


@pytest.mark.attack("whoever pushes a branch", "reading the account's keys", "no key where any branch may read it")
@pytest.mark.parametrize("answer", [refusal(404, "Not Found"), refusal(422, "Validation Failed", "billing plan")])
def test_without_environments_no_key_is_stored(desk: Desk, answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    desk.fake.refuse["PUT environments/wms"] = answer
    assert desk.setup("--keys") == UNHEALTHY
    assert "limits no environment of this repository to a branch" in desk.said and "none was stored" in desk.said
    assert not desk.fake.secrets and not desk.fake.variables
    assert len(desk.fake.rulesets) == 1  # the rest is set
    assert desk.run("check") == UNHEALTHY


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ("POST environments/wms/deployment-branch-policies", PullRequestError.exit_code),
        ("PUT environments/wms", UNHEALTHY),
    ],
)
def test_limits_that_github_takes_and_does_not_set_leave_no_key(
    desk: Desk, request_: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    desk.fake.environment = {"name": "wms", "deployment_branch_policy": None}
    desk.fake.ignore = {request_}
    assert desk.setup("--keys") == code
    assert not desk.fake.secrets


def test_without_rulesets_it_says_what_is_off(desk: Desk) -> None:
    desk.fake.refuse["GET rulesets"] = refusal(403, UPGRADE)
    assert desk.setup() == UNHEALTHY
    assert "a blocked pull request can be merged by hand" in desk.said
    assert desk.fake.environment and not desk.fake.rulesets
    assert desk.run("check") == UNHEALTHY


@pytest.mark.parametrize(
    "request_",
    ["PATCH ", "PUT actions/permissions/workflow", "POST rulesets", "POST labels", "POST environments/wms/variables"],
)
def test_each_refusal_is_named_and_the_rest_is_set(desk: Desk, request_: str) -> None:
    desk.fake.refuse[request_] = refusal(409, "The organization's policy says no")
    assert desk.setup() == PullRequestError.exit_code
    assert "GitHub refuses: The organization's policy says no" in desk.refused and "ask its owner" in desk.refused
    assert len(desk.fake.changes) == (6 if "variables" in request_ else 7)
    desk.fake.refuse = {}
    assert desk.setup() == 0
    assert_all_is_set(desk.fake)


def test_what_github_takes_and_does_not_do_is_a_failure(desk: Desk) -> None:
    desk.fake.ignore = {"PUT actions/permissions/workflow"}
    assert desk.setup() == PullRequestError.exit_code
    assert "took the request, but it isn't so" in desk.refused


def test_a_secret_of_the_repository_is_named_and_left(desk: Desk) -> None:
    desk.fake.repository_secrets = ["AWS_SECRET_ACCESS_KEY", "OTHER"]
    assert desk.setup() == UNHEALTHY
    assert_all_is_set(desk.fake)
    for _ in range(2):
        for name in desk.fake.repository_secrets:
            assert f"-> gh secret delete {name}\n" in desk.said
        assert desk.run("check") == UNHEALTHY
    assert not any("DELETE" in one for one in desk.fake.changes)


def test_a_secret_of_the_organisation_is_told(desk: Desk) -> None:
    desk.fake.refuse["GET actions/organization-secrets"] = refusal(404, "Not Found")  # a person's repository
    assert desk.setup() == 0
    desk.fake.refuse = {}
    desk.fake.organisation_secrets = ["REGISTRY_TOKEN"]
    assert desk.run("check") == 0
    assert "REGISTRY_TOKEN: whoever may push a branch can read this secret of the organisation" in desk.said


def test_a_store_of_keys_that_was_stopped_is_finished(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    desk.fake.last = 10  # the second key was the last
    assert desk.setup("--keys") == StoreUnreachableError.exit_code
    assert set(desk.fake.secrets) == set(NAMES[:2])
    desk.fake.last = None
    assert desk.setup("--keys") == 0
    assert set(desk.fake.secrets) == set(NAMES)


@pytest.mark.parametrize("words", ["check", "setup --yes"])
def test_who_may_not_and_where_nothing_answers(desk: Desk, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.fake.repository["permissions"] = {"admin": False}
    assert desk.run(*words.split()) == AccessDeniedError.exit_code
    assert "isn't an administrator" in desk.refused
    for status, kind in {401: AccessDeniedError, 502: StoreUnreachableError, 429: StoreUnreachableError}.items():
        desk.github.refuse_with = status
        assert desk.run(*words.split()) == kind.exit_code
    monkeypatch.setenv("PATH", str(Path(shutil.which("git") or "").parent / "none"))
    monkeypatch.setattr(github_settings, "origin_of", lambda _: f"https://{HOST}/{REPO}")
    assert desk.run(*words.split()) == UsageError.exit_code
    assert "gh isn't installed" in desk.refused
    monkeypatch.undo()


def test_another_origin_has_no_settings(desk: Desk) -> None:
    Git(desk.repo)("remote", "set-url", "origin", "https://git.example.org/acme/meters")
    assert desk.run("check") == UsageError.exit_code
    assert "isn't at GitHub" in desk.refused
    assert checks_github.check_repository(desk.repo).state is State.FINE
    assert desk.github.requests == []


def test_the_doctor_looks_too_and_is_never_stopped_by_github(desk: Desk) -> None:
    found = checks_github.check_repository(desk.repo)
    assert (found.state, found.mend) == (State.OPTIONAL, "wms github check")
    assert "environment" in found.text and "ruleset" in found.text
    assert desk.setup() == 0
    assert checks_github.check_repository(desk.repo).state is State.FINE
    desk.github.refuse_with = 502
    found = checks_github.check_repository(desk.repo)
    assert found.state is State.OPTIONAL and "couldn't be checked" in found.text


def test_the_script_is_the_same_command(desk: Desk) -> None:
    script = Path(__file__).resolve().parents[1] / "scripts" / "setup-github.sh"
    done = subprocess.run(
        [script, "--dry-run", "--repo", desk.repo],
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Nothing was changed: --dry-run." in done.stdout
