"""Actions for the fake GitHub: a push to a data branch and a dispatch start the real workflow files, run by act."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from act_runner import end_with_children
from github_fake import HOST, NOT_FOUND, REPO, FakeGitHub, Reply
from pipeline_shop import PIPELINE, Repository

PUSHED = "data-pushed.yaml"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass
class FakeRuns:
    """The runs of workflows: `runs` maps a file to what the API tells, `jobs` the number of a run to its jobs."""

    repository: Repository
    runs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    jobs: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        github: FakeGitHub = self.repository.github
        github.workflows[PIPELINE] = {"branch", "commit"}
        self._former, github.more = github.more, self.answer

    def answer(self, method: str, where: str, asked: dict[str, str], body: Any) -> Reply:
        match method, where.strip("/").split("/"):
            case "GET", ["actions", "workflows", name, "runs"]:
                found = [run for run in self.runs.get(name, []) if run["event"] == asked["event"]]
                return 200, {"total_count": len(found), "workflow_runs": found}
            case "GET", ["actions", "runs", number, "jobs"]:
                jobs = self.jobs.get(int(number), [])
                return 200, {"total_count": len(jobs), "jobs": jobs}
        return self._former(method, where, asked, body) if self._former else NOT_FOUND

    def work(self) -> None:
        """Wait for a data branch, and do what GitHub does at its push."""
        while not self.over.wait(0.2) and not self.repository.shop.branches():
            pass
        for branch, commit in list(self.repository.shop.branches().items())[:1]:
            event = {"ref": f"refs/heads/{branch}", "after": commit, "deleted": False}
            self._run(PUSHED, event=event, about={"head_branch": branch, "head_sha": commit})
            for name, ref, inputs in list(self.repository.github.dispatched):
                about = {"head_branch": ref, "display_title": inputs["branch"]}
                self._run(name, inputs=inputs, about=about)

    def _run(self, name: str, *, about: dict[str, str], inputs: Any = None, event: Any = None) -> None:
        act = self.repository.act
        process = act.start(name, inputs or {}, event=event)
        number = 1000 + act.run_id
        run = {
            **{"id": number, "event": "push" if event else "workflow_dispatch", "status": "in_progress"},
            **{"head_sha": self.repository.shop.main(), "display_title": "A push", "conclusion": None, **about},
            "html_url": f"http://{HOST}/{REPO}/actions/runs/{number}",
        }
        self.runs.setdefault(name, []).insert(0, run)
        self.jobs[number] = []
        began = _now()
        try:
            while process.poll() is None and not self.over.wait(0.3):
                self._see(number, began)
        finally:
            end_with_children(process)
        self._see(number, began)
        run |= {"status": "completed", "conclusion": "success" if process.returncode == 0 else "failure"}

    def _see(self, number: int, began: str) -> None:
        known = {job["name"] for job in self.jobs[number]}
        for name, result in self.repository.act.so_far().items():
            if name not in known:
                about = {"name": name, "status": "completed", "conclusion": result}
                self.jobs[number].append({**about, "started_at": began, "completed_at": _now()})


@contextlib.contextmanager
def actions(repository: Repository) -> Iterator[FakeRuns]:
    """GitHub's runners at work beside the test."""
    runs = FakeRuns(repository)
    thread = threading.Thread(target=runs.work, daemon=True)
    thread.start()
    try:
        yield runs
    finally:
        runs.over.set()
        thread.join(30)
