"""What each workflow must keep to: `faults` reads one and names every rule that it breaks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
FILES: Final = sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))
ACTIONS: Final = sorted((ROOT / ".github" / "actions").glob("*/action.y*ml"))
PIPELINE: Final = "training-data-pipeline.yaml"
PUSHED: Final = "data-pushed.yaml"
MAINS_CODE: Final = "${{ github.event.repository.default_branch }}"

_READ: Final = {"contents": "read"}
_AT_AWS: Final = {**_READ, "id-token": "write"}
_PUSHES: Final = {"contents": "write", "id-token": "write"}
_TELLS: Final = {**_PUSHES, "pull-requests": "write", "statuses": "write", "issues": "write"}
RIGHTS: Final[Mapping[tuple[str, str], Mapping[str, str]]] = {
    (PUSHED, "start"): {**_READ, "actions": "write"},
    (PIPELINE, "data"): {**_PUSHES, "pull-requests": "write", "statuses": "write"},
    (PIPELINE, "train"): _PUSHES,
    (PIPELINE, "release"): {**_PUSHES, "pull-requests": "read"},
    (PIPELINE, "down"): _AT_AWS,
    (PIPELINE, "tell"): _TELLS,
    ("ec2-control.yaml", "control"): _AT_AWS,
    ("deploy-model.yaml", "deploy"): _AT_AWS,
    ("reap-orphans.yaml", "reap"): {**_AT_AWS, "issues": "write"},
    ("lock.yaml", "lock"): _READ,
    ("pull-request.yaml", "look"): _READ,
    ("pull-request.yaml", "gate"): {},
}
"""All that a job may do at GitHub. A job that isn't listed may do nothing, so it has to be listed first."""

_PINNED: Final = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+(?:\.\d+)+")
_SECRET: Final = re.compile(r"secrets\b|github\.token|GITHUB_TOKEN")
_IS_SET: Final = re.compile(r"secrets\.\w+ && '\w+'")  # tells whether a secret is set, not its value
_COMMAND: Final = re.compile(r"exec \.venv/bin/wms \S[^\n;&|]*")  # the shell's place is taken: a cancel reaches wms
_STARTS: Final = ("loop part data", "loop part train", "loop part release", "cloud up", "cloud deploy")
LOGIN_S: Final = int(yaml.safe_load(ACTIONS[0].read_text(encoding="utf-8"))["inputs"]["session-seconds"]["default"])
_LONGEST_MIN: Final = 360
_LONGEST_RUN: Final = 5
_LONGEST_FILE: Final = 200

Job = dict[str, Any]


@dataclass(frozen=True)
class Workflow:
    """A workflow's text and name, and what it says."""

    text: str
    name: str

    @cached_property
    def parsed(self) -> dict[Any, Any]:
        found = yaml.safe_load(self.text)
        assert isinstance(found, dict)
        return found

    @property
    def jobs(self) -> dict[str, Job]:
        return self.parsed["jobs"]  # type: ignore[no-any-return]

    @property
    def triggers(self) -> dict[str, Any]:
        """Events, each with its filters; YAML reads `on` as True."""
        found = self.parsed[True]
        return found if isinstance(found, dict) else dict.fromkeys([found] if isinstance(found, str) else found)

    @property
    def steps(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, job in self.jobs.items():
            yield from ((name, step) for step in job["steps"])

    @property
    def is_of_a_branch(self) -> bool:
        """Whether a run takes this file from another branch than main, so that others write it."""
        return bool({"push", "pull_request"} & set(self.triggers))


def uses_wms(step: Mapping[str, Any]) -> bool:
    return ".venv/bin/wms" in step.get("run", "")


def unpinned(text: str) -> list[str]:
    """The actions of others that aren't named by a whole commit with its version beside it."""
    own = {f"./{path.parent.relative_to(ROOT).as_posix()}" for path in ACTIONS}
    named = re.findall(r"^\s*(?:- )?uses: (.*)$", text, re.MULTILINE)
    return [one for one in named if one.split(" ")[0] not in own and not _PINNED.fullmatch(one)]


def run_faults(step: Mapping[str, Any]) -> Iterator[str]:
    """A step is a command or two, without logic and without GitHub's values in its text."""
    run = step.get("run", "")
    if "${{" in run:
        yield "expression in a run: its value would be read as shell"
    if len(run.strip().splitlines()) > _LONGEST_RUN:
        yield f"long run: {run[:40]}"
    if re.search(r"(?<!<)<<(?!<)", run):
        yield "heredoc in a run"


def _top(one: Workflow) -> Iterator[str]:
    if one.parsed.get("permissions") != {}:
        yield "permissions on top: a job has only what it lists"
    if "pull_request_target" in one.triggers:
        yield "pull_request_target: it runs a stranger's pull request with this repository's rights"
    if len(one.text.splitlines()) > _LONGEST_FILE:
        yield "long file"


def _rights(one: Workflow) -> Iterator[str]:
    for name, job in one.jobs.items():
        if job.get("permissions") != RIGHTS.get((one.name, name)):
            yield f"rights: {name} has {job.get('permissions')}"


def _machines(one: Workflow) -> Iterator[str]:
    for name, job in one.jobs.items():
        if job.get("runs-on") != "ubuntu-24.04":
            yield f"runner: {name}"
        if not 0 < job.get("timeout-minutes", 0) <= _LONGEST_MIN:
            yield f"job without a limit: {name}"


def _actions(one: Workflow) -> Iterator[str]:
    yield from (f"unpinned: {found}" for found in unpinned(one.text))
    for name, step in one.steps:
        if not step.get("uses", "").startswith("actions/checkout@"):
            continue
        given = step.get("with", {})
        if given.get("persist-credentials") is not False:
            yield f"kept token: {name}'s checkout leaves it in .git/config"
        if given.get("ref", MAINS_CODE if one.name != PUSHED else "") != MAINS_CODE:
            yield f"code of a branch: {name} checks out {given.get('ref')}"


def _runs(one: Workflow) -> Iterator[str]:
    for name, step in one.steps:
        yield from run_faults(step)
        if not uses_wms(step):
            continue
        if not _COMMAND.fullmatch(step["run"].strip()):
            yield f"no exec: {step['run']}"
        if not 0 < step.get("timeout-minutes", 0) < one.jobs[name].get("timeout-minutes", 0):
            yield f"step without a limit: {name}, {step.get('name')}"


def _logins(one: Workflow) -> Iterator[str]:
    """No step outlasts the login of its role."""
    for name, job in one.jobs.items():
        logins = [step for step in job["steps"] if step.get("uses", "").startswith("./.github/actions/")]
        for step in job["steps"] if logins else ():
            lasts_s = int(logins[-1].get("with", {}).get("session-seconds", LOGIN_S))
            if uses_wms(step) and step.get("timeout-minutes", 0) * 60 > lasts_s:
                yield f"login too short: {name}, {step.get('name')}"


def _secrets(one: Workflow) -> Iterator[str]:
    inside = {name for name, job in one.jobs.items() if job.get("environment") == "wms"}
    if one.is_of_a_branch and ("secrets" in _without_comments(one.text) or inside):
        yield "secret in a branch's file: who may push writes this workflow"
    for name, job in one.jobs.items():
        if name not in inside and "secrets." in f"{one.parsed.get('env')} {job}":
            yield f"secret outside of the environment: {name}"


def _early(one: Workflow) -> Iterator[str]:
    """A package's build, or a job's checkout, sees neither key nor token: they stand in the steps that need them."""
    for where in (one.parsed, *one.jobs.values()):
        for name, value in where.get("env", {}).items():
            if _SECRET.search(_IS_SET.sub("", str(value))):
                yield f"early secret: {name} is in every step"
    for name, job in one.jobs.items():
        own = [step.get("uses", "").startswith("./.github/actions/") for step in job["steps"]]  # takes keys as inputs
        installs = [
            is_own or "make install" in str(step.get("run")) for is_own, step in zip(own, job["steps"], strict=True)
        ]
        last = installs.index(True) if True in installs else len(installs) - 1  # who installs nothing needs no key
        for step in job["steps"][: last + (not own[last])]:
            if _SECRET.search(f"{step.get('env')} {step.get('with')}"):
                yield f"early secret: {name}, {step.get('name', step.get('uses'))}"


def _account(one: Workflow) -> Iterator[str]:
    """Without an account a job ends green, after a sentence in the workflow's first job."""
    jobs = [job for job in one.jobs.values() if job.get("environment") == "wms"]
    if jobs and not any(
        step.get("if") == "env.CONFIGURED == ''" and step.get("run", "").startswith('echo "::notice::')
        for step in jobs[0]["steps"]
    ):
        yield "no account: nothing says so"
    for job in jobs:
        for step in job["steps"]:
            needs = uses_wms(step) or step.get("uses", "").startswith("./")
            if needs and not str(step.get("if")).startswith("env.CONFIGURED != ''"):
                yield f"no account: {step.get('name', step.get('uses'))} would fail"


def _end(one: Workflow) -> Iterator[str]:
    """The teardown runs in every case, and by names alone: a cancel leaves no outputs."""
    if one.name != PIPELINE:
        return
    jobs = one.jobs
    down, tell = jobs.get("down", {}), jobs.get("tell", {})
    runs = [(name, step.get("run", "")) for name, step in one.steps]
    starting = {name for name, run in runs if any(start in run for start in _STARTS)}
    if down.get("if") != "always()" or any("always()" in str(step) for step in down.get("steps", [])):
        yield "down: not in every case"
    if not starting <= set(down.get("needs", ())):
        yield f"down: doesn't wait for {sorted(starting - set(down.get('needs', ())))}"
    if "needs." in str(down) or "outputs" in str(down):
        yield "down: needs what another job printed"
    if ("down", "exec .venv/bin/wms cloud down --target aws") not in runs:
        yield "down: ends nothing"
    if tell.get("if") != "always()" or "down" not in tell.get("needs", ()):
        yield "tell: not in every case, or before the cost is final"
    if any("continue-on-error" in step for _, step in one.steps):
        yield "continue-on-error: a failed step would pass"


def _concurrency(one: Workflow) -> Iterator[str]:
    found = one.parsed.get("concurrency")
    if found is None:
        if one.is_of_a_branch or "workflow_call" not in one.triggers:  # what is called shares the lease in the store
            yield "concurrency: none"
        return
    if "${{" in found["group"].replace("${{ github.ref }}", ""):
        yield f"concurrency: the group {found['group']} isn't one"
    changes = any("write" in str(job.get("permissions")) for job in one.jobs.values())
    if changes and found.get("cancel-in-progress") is not False:
        yield "concurrency: a run is cut off"
    if one.name == PIPELINE and found.get("queue") != "max":
        yield "concurrency: a waiting run is dropped"


_RULES: Final[tuple[Callable[[Workflow], Iterator[str]], ...]] = (
    *(_top, _rights, _machines, _actions, _runs, _logins, _secrets, _early, _account, _end, _concurrency),
)


def faults(text: str, name: str) -> list[str]:
    """Every rule that a workflow breaks: its name, a colon and where."""
    one = Workflow(text, name)
    return [fault for rule in _RULES for fault in rule(one)]


def shared_groups(texts: Mapping[str, str]) -> list[str]:
    """Concurrency groups that several workflows have: one that calls another of its own group waits for itself."""
    groups = [Workflow(text, name).parsed.get("concurrency", {}).get("group") for name, text in texts.items()]
    return sorted({one for one in groups if one and groups.count(one) > 1})


def _without_comments(text: str) -> str:
    return re.sub(r"(?:^|\s)#.*$", "", text, flags=re.MULTILINE)
