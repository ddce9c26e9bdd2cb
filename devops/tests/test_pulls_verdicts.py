"""The check `wms/gate`, set by a login that has no business with it: it may block, and never lifts a failure."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from github_office import Office

from wms_ops.base.errors import PullRequestError
from wms_ops.pulls.protocol import CHECK, PullState
from wms_ops.pulls.verdicts import ACTIONS

pytest_plugins = ["github_office"]


def forge(office: Office, head: str, login: str, state: str = "success") -> None:
    """What an attacker with a token for statuses sends."""
    office.fake.set_status(head, login, context="wms/gate", state=state, description="The model was promoted.")


@pytest.mark.parametrize("times", [1, 250], ids=["once", "until the failure is on the third page"])
@pytest.mark.attack("a token that may write statuses", "a forged success of wms/gate", "the status's creator is asked")
def test_a_forged_success_does_not_lift_a_failure(office: Office, times: int) -> None:
    pull, head = office.opened()
    office.pulls.block(pull, "Worse.")
    for _ in range(times):
        forge(office, head, "mallory")
    found = office.pulls.find(pull.branch)
    assert found is not None and found.state is PullState.BLOCKED
    assert "mallory set the check wms/gate of pull request 1" in office.said[0]
    with pytest.raises(PullRequestError, match="is blocked"):
        office.merge(pull, head)
    assert office.yard.main() == ["Start"]


@pytest.mark.parametrize("state", ["pending", "success"])
@pytest.mark.parametrize("lifter", ["ana", "ben", ACTIONS], ids=["who blocked", "this command", "a workflow"])
def test_who_may_lift_a_failure(office: Office, lifter: str, state: str) -> None:
    pull, head = office.opened()
    office.pulls.block(pull, "Worse.")
    office.fake.login = "ben"
    forge(office, head, lifter, state)
    forge(office, head, "mallory", state)
    found = office.pulls.find(pull.branch)
    assert found is not None and found.state is PullState.OPEN
    assert not office.said


def test_any_login_may_block(office: Office) -> None:
    pull, head = office.opened()
    forge(office, head, "mallory", "error")
    found = office.pulls.find(pull.branch)
    assert found is not None and found.state is PullState.BLOCKED


def test_a_status_of_another_name_or_of_a_deleted_user(office: Office) -> None:
    pull, head = office.opened()
    office.pulls.block(pull, "Worse.")
    office.fake.set_status(head, "ana", context="wms/other", state="success", description="")
    office.fake.set_status(head, "ana", context="wms/gate", state="success", description="")["creator"] = None
    found = office.pulls.find(pull.branch)
    assert found is not None and found.state is PullState.BLOCKED
    assert "a deleted user set" in office.said[0]


def test_the_ruleset_in_the_documents_names_the_app() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "BRANCH_PROTECTION.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    ruleset = json.loads(block)
    assert ruleset["enforcement"] == "active" and not ruleset["bypass_actors"]
    (required,) = [rule["parameters"] for rule in ruleset["rules"] if rule["type"] == "required_status_checks"]
    assert required["required_status_checks"] == [{"context": CHECK, "integration_id": 15368}]
