"""Runs this project's real workflow files by act on this machine, with others' actions replaced by small stubs.

act knows no `queue` of a concurrency group, so the copy that it reads lacks that line; what else act doesn't enforce
(filters, permissions, environments, concurrency, time-outs of jobs) test_workflows.py checks in the text.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml
from servers import require_tool

from wms.paths import ROOT

_PINNED = re.compile(r"uses: ([\w.-]+/[\w.-]+)@([0-9a-f]{40})")

CHECKOUT = """
name: checkout
inputs: { ref: { default: main }, fetch-depth: { default: "1" } }
runs:
  using: composite
  steps:
    - shell: bash
      env: { REF: "${{ inputs.ref }}" }
      run: |
        git init --quiet .
        git remote add origin "$CHECKED_OUT"
        if [ "${{ inputs.fetch-depth }}" = 0 ]; then
          git fetch --quiet --tags origin "+refs/heads/*:refs/remotes/origin/*"
        else
          git fetch --quiet --no-tags --depth=1 origin "+refs/heads/$REF:refs/remotes/origin/$REF"
        fi
        git checkout --quiet -B "$REF" "refs/remotes/origin/$REF"
        ln -s "$VIRTUAL_ENVIRONMENT" .venv
        printf '/.venv\\n' >> .git/info/exclude
        echo "PYTHONPATH=$PWD/WMS/src:$PWD/devops/src" >> "$GITHUB_ENV"
"""
"""A clone of the origin as actions/checkout makes one, shallow by default, with the tests' own packages in .venv."""

NOTHING = "name: nothing\nruns: { using: composite, steps: [{ shell: bash, run: ':' }] }\n"
TOKEN = "the-token-of-a-workflow"  # noqa: S105

SSH = """#!/bin/sh
# git's ssh: the last argument is the command for the server, whose repositories lie in the folder of this script.
cd "$(dirname "$0")" || exit 1
while [ $# -gt 1 ]; do shift; done
eval "exec $1"
"""


def _names(log: str) -> Iterator[str]:
    for line in _lines(log):
        if "jobResult" in line:
            yield str(line["job"]).partition("/")[2].strip()


@dataclass(frozen=True)
class ActRun:
    """A run of a workflow: act's exit code, the result of each job that ran ("success", "failure"), and the log."""

    code: int
    jobs: Mapping[str, str]
    log: str

    @property
    def checks(self) -> list[str]:
        """The names under which GitHub would show the jobs that are over: those of their checks."""
        return list(_names(self.log))

    def said(self, job: str) -> str:
        """What the steps of a job printed."""
        return "\n".join(text for name, text in _messages(self.log) if name == job)


@dataclass
class Act:
    """`origin` is the bare repository that stands for OWNER/REPO at `host`; `environ` are variables of every step."""

    folder: Path
    origin: Path
    host: str
    repository: str
    environ: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    run_id: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        (self.folder / "home").mkdir()
        bare = self.folder / "server" / f"{self.repository}.git"
        bare.parent.mkdir(parents=True)
        bare.symlink_to(self.origin.resolve())
        ssh = self.folder / "server" / "ssh"
        ssh.write_text(SSH, encoding="utf-8")
        make = self.folder / "bin" / "make"
        make.parent.mkdir()
        make.write_text('#!/bin/sh\necho "make $*: the tests\' own packages"\n', encoding="utf-8")
        for program in (ssh, make):
            program.chmod(0o755)

    @property
    def url(self) -> str:
        """The origin's address as a runner sees it."""
        return f"git@{self.host}:{self.repository}.git"

    def run(self, workflow: str, inputs: Mapping[str, str], **more: Any) -> ActRun:
        """Run a workflow to its end; see `start`."""
        return self.finished(self.start(workflow, inputs, **more))

    def start(
        self,
        workflow: str,
        inputs: Mapping[str, str],
        *,
        alone: str = "",
        outputs: Mapping[str, Mapping[str, str]] | None = None,
        attempt: int = 1,
        event: Mapping[str, Any] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a workflow as a dispatch on main does, or with `event`, a payload, as a push or a pull request does.

        `alone` names the one job that is run again, for which those that it needs keep their `outputs`. A later
        `attempt` belongs to the run before.
        """
        self.run_id += attempt == 1
        given = self.folder / "event.json"
        payload = {"repository": {"default_branch": "main", "full_name": self.repository}}
        given.write_text(json.dumps(payload | ({"inputs": inputs} if event is None else event)), encoding="utf-8")
        kind = "pull_request" if "pull_request" in (event or {}) else "push" if event else "workflow_dispatch"
        command = [str(_act()), kind, "-W", f".github/workflows/{workflow}", "--json", "-e", str(given)]
        command += ["-P", "ubuntu-24.04=-self-hosted", "--action-offline-mode", "--no-skip-checkout"]
        command += ["--no-cache-server", "--github-instance", self.host]
        command += [word for name, stub in self._stubs().items() for word in ("--local-repository", f"{name}={stub}")]
        for flag, values in {
            "--env": self._environ(attempt),
            "--secret": {"GITHUB_TOKEN": TOKEN, **self.secrets},
            "--var": self.variables,
        }.items():
            command += [word for name, value in values.items() for word in (flag, f"{name}={value}")]
        there = self._checked_out()
        if alone:
            _leave(there / ".github" / "workflows" / workflow, alone, outputs or {})
        quiet = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder / "home"), "TERM": "dumb"}
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=there,
                env=quiet,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_for(self, process: subprocess.Popen[bytes], job: str) -> str:
        """Wait until a job of a running workflow is over, and return its result; "" if the workflow ends before."""
        while (result := self.so_far().get(job, "")) == "" and process.poll() is None:
            time.sleep(0.2)  # a poll's pause
        return result or self.so_far().get(job, "")

    def so_far(self) -> dict[str, str]:
        """The results of the newest run's jobs that are over."""
        return dict(_results(self.log.read_text(encoding="utf-8", errors="replace")))

    def finished(self, process: subprocess.Popen[bytes]) -> ActRun:
        """Wait for act's end; whatever it leaves running is ended, too, as a runner's machine is."""
        try:
            process.wait()
        finally:
            end_with_children(process)
        return ActRun(process.returncode, self.so_far(), self.log.read_text(encoding="utf-8", errors="replace"))

    @property
    def log(self) -> Path:
        """What the newest run has said so far."""
        return self.folder / f"run-{self.run_id}.log"

    def _checked_out(self) -> Path:
        """A clone of main, from whose folder act reads the workflow and learns the names of the repository."""
        there = self.folder / "runner"
        shutil.rmtree(there, ignore_errors=True)
        subprocess.run(["git", "clone", "--quiet", "--branch", "main", self.origin, there], check=True)
        subprocess.run(["git", "-C", there, "remote", "set-url", "origin", self.url], check=True)
        for path in (there / ".github" / "workflows").glob("*.yaml"):
            path.write_text(re.sub(r"\n +queue: max", "", path.read_text(encoding="utf-8")), encoding="utf-8")
        return there

    def _stubs(self) -> dict[str, Path]:
        """A folder for each action of others, by its name and pin."""
        found = {}
        for path in ROOT.joinpath(".github").rglob("*.y*ml"):
            for name, pin in _PINNED.findall(path.read_text(encoding="utf-8")):
                stub = self.folder / "stubs" / name.replace("/", "-")
                stub.mkdir(parents=True, exist_ok=True)
                text = CHECKOUT if name == "actions/checkout" else NOTHING
                (stub / "action.yml").write_text(text, encoding="utf-8")
                found[f"{name}@{pin}"] = stub
        return found

    def _environ(self, attempt: int) -> dict[str, str]:
        path = [
            str(self.folder / "bin"),
            str(Path(sys.executable).parent),
            "/usr/local/bin",
            "/usr/bin",
            "/bin",
            "/usr/sbin",
        ]
        return {
            **self.environ,
            "PATH": ":".join(path),
            "HOME": str(self.folder / "home"),
            "CHECKED_OUT": self.url,
            "VIRTUAL_ENVIRONMENT": str(Path(sys.prefix)),
            "GIT_SSH_COMMAND": str(self.folder / "server" / "ssh"),
            "GIT_SSH_VARIANT": "simple",
            "GITHUB_RUN_ID": str(1000 + self.run_id),
            "GITHUB_RUN_ATTEMPT": str(attempt),
        }


def _leave(path: Path, job: str, outputs: Mapping[str, Mapping[str, str]]) -> None:
    """Rewrite a workflow so that one job runs, after jobs that do nothing but give their outputs."""
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    workflow["on"] = workflow.pop(True)  # YAML's `on`
    jobs = workflow["jobs"]
    for name in jobs[job].get("needs", []):
        steps = [{"run": "echo done before"}]
        jobs[name] = {"runs-on": jobs[name]["runs-on"], "outputs": dict(outputs.get(name, {})), "steps": steps}
    workflow["jobs"] = {name: jobs[name] for name in (*jobs[job].get("needs", []), job)}
    path.write_text(yaml.safe_dump(workflow), encoding="utf-8")


def end_with_children(process: subprocess.Popen[bytes]) -> None:
    """Kill act and every step that it started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for one in (*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
    process.wait()


def _act() -> Path:
    return require_tool("act", Path(sys.executable).with_name("act"))


def _lines(log: str) -> Iterator[dict[str, Any]]:
    for line in log.splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found


def _messages(log: str) -> Iterator[tuple[str, str]]:
    for line in _lines(log):
        yield str(line.get("jobID", "")), str(line.get("msg", "")).rstrip("\n")


def _results(log: str) -> Iterator[tuple[str, str]]:
    for line in _lines(log):
        if "jobResult" in line:
            yield str(line["jobID"]), str(line["jobResult"])
