"""Which event at GitHub starts which job: the table below, against the triggers of the files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
from workflow_policy import FILES, PIPELINE, PUSHED, Workflow

from wms_ops.pulls import dispatch

WORKFLOWS = [Workflow(path.read_text(encoding="utf-8"), path.name) for path in FILES]
REQUEST = "pull-request.yaml"
LOCK = "infrastructure/terraform/instance/.terraform.lock.hcl"
BY_HAND = {PIPELINE, "deploy-model.yaml", "ec2-control.yaml", "reap-orphans.yaml", "lock.yaml"}


@dataclass(frozen=True)
class Event:
    """What happens at GitHub: the event's name, a pushed branch or tag, the changed files of a pull request."""

    name: str
    branch: str = ""
    tag: str = ""
    path: str = ""
    deleted: bool = False


STARTS: dict[str, tuple[Event, set[str]]] = {
    "a push to a data branch": (Event("push", "data/20261121-103000"), {PUSHED}),
    "a push to a data branch of a person": (Event("push", "data/anna/kitchen"), {PUSHED}),
    "the deletion of a data branch": (Event("push", "data/20261121-103000", deleted=True), set()),
    "a push or a merge to main": (Event("push", "main"), set()),
    "a push to another branch": (Event("push", "my-work"), set()),
    "a push of pictures": (Event("push", "pull-requests"), set()),
    "a push of a tag": (Event("push", tag="data/x"), set()),
    "a pull request of a data branch": (Event("pull_request", path="WMS/data/dataset/images.dvc"), {REQUEST}),
    "a pull request that changes a lock file": (Event("pull_request", path=LOCK), {"lock.yaml", REQUEST}),
    # GitHub sends a fork's as the same event, with a token that reads, and without secrets.
    "a fork's pull request of code": (Event("pull_request", path="devops/src/wms_ops/x.py"), {REQUEST}),
    "a fork's pull request with a comment": (Event("issue_comment"), set()),
    "a schedule": (Event("schedule"), {"reap-orphans.yaml", "lock.yaml"}),
    "a person, or a workflow's dispatch": (Event("workflow_dispatch"), BY_HAND),
    "a call by another workflow": (Event("workflow_call"), {"deploy-model.yaml", "ec2-control.yaml"}),
    "the end of another workflow": (Event("workflow_run"), set()),
}


def matches(patterns: list[str], text: str) -> bool:
    """Whether GitHub's filter takes a name: `*` stops at a slash, `**` doesn't."""
    parts = (re.escape(one).replace(r"\*\*/", "(?:.*/)?").replace(r"\*\*", ".*") for one in patterns)
    return any(re.fullmatch(part.replace(r"\*", "[^/]*"), text) for part in parts)


def is_started(workflow: Workflow, event: Event) -> bool:
    if event.name not in workflow.triggers:
        return False
    filters: dict[str, Any] = workflow.triggers[event.name] or {}
    assert event.name in ("workflow_dispatch", "workflow_call", "schedule") or set(filters) <= {"branches", "paths"}
    if event.name == "push" and not matches(filters["branches"], event.branch):
        return False  # a filter of branches leaves tags out
    if event.name == "pull_request" and "paths" in filters and not matches(filters["paths"], event.path):
        return False
    ends = {"${{ !github.event.deleted }}"} if event.deleted else set()
    return any(job.get("if") not in ends for job in workflow.jobs.values())


@pytest.mark.parametrize("happens", STARTS)
def test_an_event_starts_these_workflows_and_no_other(happens: str) -> None:
    event, wanted = STARTS[happens]
    assert {one.name for one in WORKFLOWS if is_started(one, event)} == wanted


def test_every_trigger_is_in_the_table() -> None:
    assert {name for one in WORKFLOWS for name in one.triggers} <= {event.name for event, _ in STARTS.values()}


def test_the_pipeline_takes_what_the_small_workflow_sends() -> None:
    (pipeline,) = (one for one in WORKFLOWS if one.name == dispatch.PIPELINE)
    assert set(pipeline.triggers) == {"workflow_dispatch"}
    inputs = pipeline.triggers["workflow_dispatch"]["inputs"]
    assert set(inputs) == {"branch", "commit"} and all(one["required"] for one in inputs.values())
