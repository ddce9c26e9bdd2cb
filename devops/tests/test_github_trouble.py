"""GitHub limits requests, fails, or is cut off: what is sent again, for how long, and what a person is told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from github_fake import FakeGitHub, fake_github

from wms_ops.base.errors import StoreUnreachableError
from wms_ops.pulls import gh_again
from wms_ops.pulls.gh import GitHub

LIMIT = "You have exceeded a secondary rate limit."
READ, WRITE = "repos/{owner}/{repo}/contents/a", "repos/{owner}/{repo}/actions/workflows/a.yaml/dispatches"


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGitHub]:
    with fake_github() as fake:
        for name, value in fake.environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
        fake.files["a"] = b"{}"
        fake.workflows["a.yaml"] = set()
        yield fake


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """In a workflow; what it waits for, without the waiting."""
    found: list[float] = []
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setattr(gh_again, "pause", found.append)
    return found


def read(folder: Path) -> bool:
    return GitHub(folder).ask(READ, what="a file").ok


def write(folder: Path) -> bool:
    body = {"ref": "main", "inputs": {}}
    return GitHub(folder).ask(WRITE, method="POST", body=body, what="a start").ok


def test_a_read_is_sent_again_and_a_write_is_not(github: FakeGitHub, tmp_path: Path) -> None:
    github.trouble = [(502, "Bad Gateway", {}), (503, "Unavailable", {})]
    assert read(tmp_path) and github.trouble == []
    github.trouble = [(502, "Bad Gateway", {})]
    with pytest.raises(StoreUnreachableError, match=r"can't be asked for a start: .*502.* run it again"):
        write(tmp_path)
    github.trouble = [(500, "Oops", {})] * 3
    with pytest.raises(StoreUnreachableError, match="500"):
        read(tmp_path)
    assert github.trouble == []


def test_a_limit_is_waited_for_as_long_as_github_says(github: FakeGitHub, waits: list[float], tmp_path: Path) -> None:
    reset = str(int(time.time()) + 30)
    github.trouble = [
        (429, LIMIT, {"Retry-After": "7"}),
        (403, "API rate limit exceeded for a", {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}),
        (403, LIMIT, {}),
    ]
    assert write(tmp_path), "a refused request made nothing"
    first, second, third = waits
    assert first == 7 and 20 < second <= 31 and third == 60


@pytest.mark.parametrize("told", [{"Retry-After": "901"}, {"Retry-After": "99999999999"}, {"X-RateLimit-Reset": "x"}])
def test_a_longer_limit_ends_the_job(
    github: FakeGitHub, waits: list[float], tmp_path: Path, told: dict[str, str]
) -> None:
    github.trouble = [(429, LIMIT, told)] * 20
    with pytest.raises(StoreUnreachableError, match=r"asked too often .* takes requests again .* run this again"):
        read(tmp_path)
    assert sum(waits) <= gh_again.LONGEST_S


def test_a_person_is_told_at_once(github: FakeGitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gh_again, "pause", lambda _: pytest.fail("it waits"))
    github.trouble = [(429, LIMIT, {"Retry-After": "60"})]
    with pytest.raises(StoreUnreachableError, match=r"from \d\d:\d\d:\d\d UTC on, so run this again then"):
        read(tmp_path)
