"""A repository at a fake GitHub, with its pull requests, for tests: the fixture `office`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from github_fake import FakeGitHub, fake_github
from github_fake_pulls import FakePulls
from pull_yard import BRANCH, Yard, make_yard

from wms_ops.pulls.gh import GitHub
from wms_ops.pulls.gh_pulls import GhPulls
from wms_ops.pulls.protocol import Pull


@dataclass
class Office:
    """A yard on a fake GitHub. `meanwhile` is what happens there whenever something here waits."""

    yard: Yard
    github: FakeGitHub
    fake: FakePulls
    said: list[str] = field(default_factory=list)
    waits: int = 0

    def meanwhile(self) -> None:
        self.fake.settle()

    def pause(self, _: float) -> None:
        self.waits += 1
        self.meanwhile()

    @property
    def pulls(self) -> GhPulls:
        here = GitHub(self.yard.clone.folder)
        return GhPulls(self.yard.clone, self.yard.url, here, say=self.said.append, wait_s=9, pause=self.pause)

    def opened(self) -> tuple[Pull, str]:
        head = self.yard.branch()
        return self.pulls.open(BRANCH, "Add data", "Better."), head

    def merge(self, pull: Pull, head: str) -> str:
        return self.pulls.merge(pull, head=head, title="Add data", message="All of it.")

    def check(self, head: str) -> tuple[str, str]:
        status = self.fake.statuses[head]
        assert status["context"] == "wms/gate"
        return status["state"], status["description"]


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    yard = make_yard(tmp_path)
    with fake_github() as github:
        for name, value in github.environ.items():
            monkeypatch.setenv(name, value)
        yield Office(yard, github, FakePulls(github, yard.origin))
