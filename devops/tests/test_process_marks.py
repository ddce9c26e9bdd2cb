"""How the processes of a cloud are found, and that their mark leaves the user's choice of a cloud alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from wms_ops.machine.environment import plain_environ
from wms_ops.machine.processes import MarkedProcess, end, find, mark_of, spawn

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
ASKS = """
import os, pathlib
from wms_ops.targets.factory import cloud_in
print(os.environ.get("WMS_CLOUD"), cloud_in(pathlib.Path("loop")).name, flush=True)
"""
STARTS = f"import subprocess; subprocess.run({SLEEPER!r})"


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[str]:
    found = mark_of(tmp_path)
    yield found
    assert end((one.process for one in find(found)), 5) == []


def start(folder: Path, mark: str, command: list[str]) -> psutil.Process:
    """A process of the cloud in `folder`, in the role "s3"."""
    return spawn(command, mark=mark, role="s3", folder=folder, environ=plain_environ(), log=folder / "log")


def eventually(count: int, mark: str) -> list[MarkedProcess]:
    """The processes with a mark, once there are so many; a test's own time limit ends the wait."""
    while len(found := find(mark)) < count:
        pass
    return found


@pytest.mark.parametrize("choice", ["local", None])
def test_a_process_of_a_cloud_sees_the_users_choice(
    tmp_path: Path, mark: str, choice: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WMS_CLOUD", raising=False)
    if choice:
        monkeypatch.setenv("WMS_CLOUD", choice)
    psutil.wait_procs([start(tmp_path, mark, [sys.executable, "-c", ASKS])], timeout=60)
    assert (tmp_path / "log").read_text().splitlines()[-1] == f"{choice} local"


def test_children_share_mark_and_role(tmp_path: Path, mark: str) -> None:
    parent = start(tmp_path, mark, [sys.executable, "-c", STARTS])
    found = eventually(2, mark)
    assert {one.role for one in found} == {"s3"}
    assert {one.process.pid for one in found} == {parent.pid, *(child.pid for child in parent.children())}


def test_a_process_that_the_release_before_has_started_is_found_and_ended(tmp_path: Path, mark: str) -> None:
    environ = {**plain_environ(), "WMS_CLOUD": mark, "WMS_CLOUD_ROLE": "mlflow"}
    with subprocess.Popen(SLEEPER, env=environ) as old:
        (found,) = eventually(1, mark)
        assert (found.process.pid, found.role) == (old.pid, "mlflow")
        assert end([found.process], 5) == []
    assert find(mark) == []


def test_a_choice_is_no_mark(tmp_path: Path, mark: str) -> None:
    with subprocess.Popen(SLEEPER, env={**plain_environ(), "WMS_CLOUD": "local"}) as other:
        try:
            mine = start(tmp_path, mark, SLEEPER)
            assert [one.process.pid for one in eventually(1, mark)] == [mine.pid]
        finally:
            other.kill()


def test_no_process_inherits_a_mark_of_either_release(mark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WMS_CLOUD", "aws")
    assert plain_environ()["WMS_CLOUD"] == "aws"
    monkeypatch.setenv("WMS_PROCESS_MARK", mark)
    monkeypatch.setenv("WMS_PROCESS_ROLE", "run 1")
    assert mark not in plain_environ().values() and "run 1" not in plain_environ().values()
    monkeypatch.setenv("WMS_CLOUD", mark)
    monkeypatch.setenv("WMS_CLOUD_ROLE", "run 2")
    assert {"WMS_CLOUD", "WMS_CLOUD_ROLE"}.isdisjoint(plain_environ())
