"""What an acceptance has seen, and the judgement of each seam between two systems. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from wms.records import StoredRecord
from wms_ops.base.layout import main_branch
from wms_ops.cost.sessions import Moment
from wms_ops.pulls.dispatch import PIPELINE
from wms_ops.setup.github.wanted import ENVIRONMENT, SETUP

SUCCESS: Final = "success"
WORKS: Final = ("data", "train", "release", "tell")
"""The pipeline's jobs but for the teardown, which is a seam of its own."""

_MLFLOW: Final = ("packages", "environment", "agent", "restore", "mlflow")


class Job(StoredRecord):
    """A job of the pipeline: its conclusion in GitHub's words, "" while it runs, and its seconds."""

    name: str
    result: str = ""
    seconds: float = 0.0


class Facts(StoredRecord):
    """What GitHub, AWS and the origin said. `left` is None until AWS was asked for what the run has left.

    `unset` names settings at GitHub that aren't as wanted, `boot` maps the steps of the instance's start to their
    states, `ledger_run` is the run of the last entry in main's ledger, and `is_recorded` says whether
    model-metadata.json is what follows from that entry.
    """

    repository: str
    origin: str
    account: str
    region: str
    environment: str
    begun_at: Moment
    seed: int
    photos: int
    most_usd: float
    most_minutes: float
    branch: str = ""
    commit: str = ""
    unset: tuple[str, ...] = ()
    role: str = ""
    registry: str = ""
    start_run: str = ""
    start_result: str = ""
    run: str = ""
    run_event: str = ""
    run_branch: str = ""
    run_result: str = ""
    jobs: tuple[Job, ...] = ()
    instance: str = ""
    boot: Mapping[str, str] = {}
    pull: str = ""
    pull_state: str = ""
    check: str = ""
    version: int | None = None
    ledger_run: str = ""
    is_recorded: bool = False
    left: tuple[str, ...] | None = None
    usd: float | None = None
    minutes: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether GitHub has nothing more to do: the pipeline ended, or it never started."""
        return bool(self.run_result) or self.start_result not in ("", SUCCESS)

    def result(self, job: str) -> str:
        """The conclusion of a job, "" for a job that wasn't seen or runs."""
        return next((one.result for one in self.jobs if one.name == job), "")


class SeamState(StrEnum):
    """The judgement of a seam."""

    PASSED = "passed"
    FAILED = "failed"
    UNCHECKED = "not checked"


@dataclass(frozen=True)
class Seam:
    """A place where two systems meet; `text` is what was seen there, `mend` what to do about a failure."""

    name: str
    state: SeamState
    text: str
    mend: str = ""


def judge(facts: Facts) -> tuple[Seam, ...]:
    """Judge every seam by what was seen; what wasn't seen didn't pass."""
    return tuple(_seams(facts))


def _seam(name: str, passed: object, seen: str, failed: str, mend: str) -> Seam:
    return Seam(name, SeamState.PASSED, seen) if passed else Seam(name, SeamState.FAILED, failed, mend)


def _seams(facts: Facts) -> Iterator[Seam]:
    look = f"look at {facts.run or facts.start_run or 'the repository, tab Actions'}"
    yield _seam(
        "environment",
        not facts.unset,
        f"the settings at GitHub are as wanted; secrets lie in the environment {ENVIRONMENT} alone",
        f"not as wanted: {', '.join(facts.unset)}",
        SETUP,
    )
    yield _seam(
        "dispatch",
        facts.start_result == SUCCESS and facts.run_event == "workflow_dispatch" and facts.run_branch == main_branch(),
        f"the push of {facts.branch} started {PIPELINE} as {main_branch()} has it",
        f"the push of {facts.branch or 'no branch'} started no pipeline on {main_branch()} "
        f"(data-pushed.yaml: {facts.start_result or 'not seen'})",
        look,
    )
    if facts.role:
        logged_in = facts.result("data") == SUCCESS
        text = f"job data worked at AWS as {facts.role}, by OIDC"
        yield _seam("OIDC", logged_in, text, f"job data: {facts.result('data') or 'not seen'}", look)
    else:
        yield Seam("OIDC", SeamState.UNCHECKED, "this repository has keys of a session instead of a role")
    yield _seam(
        "Terraform",
        facts.instance,
        f"it made the instance {facts.instance} in {facts.account}, {facts.region}",
        "no instance of this run was seen",
        look,
    )
    unready = [step for step in _MLFLOW if facts.boot.get(step) != "done"]
    yield _seam("boot", not unready, "every step is done", f"not done: {', '.join(unready)}", look)
    yield _seam(
        "k3s",
        facts.boot.get("k3s") == "done",
        "the instance has set it up",
        f"the instance reported: {facts.boot.get('k3s', 'nothing')}",
        "docs/KNOWN_ISSUES.md says what of it was never run",
    )
    trained = all(facts.result(job) == SUCCESS for job in ("train", "release")) and facts.version is not None
    said = ", ".join(f"{job} {facts.result(job) or 'not seen'}" for job in WORKS)
    yield _seam("MLflow", trained, f"it trained, compared and promoted version {facts.version}", said, look)
    yield _seam(
        "ECR",
        facts.registry,
        f"it gave a login for {facts.registry}",
        "it gave no login, or lacks the repository",
        "devops/scripts/cloud.sh store",
    )
    yield _seam(
        "merge",
        facts.pull_state == "merged" and facts.check == SUCCESS and facts.is_recorded,
        f"{facts.pull} is merged, with the ledger and model-metadata.json of run {facts.ledger_run}",
        f"the pull request is {facts.pull_state or 'not there'}, its check {facts.check or 'not set'}, the run in "
        f"main's ledger {facts.ledger_run or 'none'}, and model-metadata.json "
        f"{'agrees' if facts.is_recorded else 'differs'}",
        look,
    )
    yield _seam(
        "teardown",
        facts.left == () and facts.result("down") == SUCCESS,
        "AWS was asked: nothing that costs money is left",
        f"left: {', '.join(facts.left) if facts.left is not None else 'AWS was not asked'}; job down: "
        f"{facts.result('down') or 'not seen'}",
        "devops/scripts/stop-cloud.sh",
    )
    yield _limits(facts)


def _limits(facts: Facts) -> Seam:
    if facts.usd is None or facts.minutes is None:
        return Seam("limits", SeamState.FAILED, "neither cost nor duration is known", "wms cloud status --target aws")
    within = facts.usd <= facts.most_usd and facts.minutes <= facts.most_minutes
    text = (
        f"{facts.usd:.3f} USD and {facts.minutes:.1f} minutes, of {facts.most_usd:.2f} USD and "
        f"{facts.most_minutes:.0f} minutes"
    )
    return _seam("limits", within, text, text, "docs/cost.md says what an instance costs")
