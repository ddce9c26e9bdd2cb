"""`make demo` at a small scale: all its acts, what it refuses, and that nothing is left however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from loop_shop import tiny
from proofs import of_this_commit
from s3_server import require_tool

from wms.errors import DiskFullError
from wms_ops.base.errors import BusyError, CloudError, GitError
from wms_ops.demo.cli import lock_folder, main
from wms_ops.demo.folder import check_disk, clear
from wms_ops.git.command import require_git
from wms_ops.loop.contexts import local_cloud, run_store
from wms_ops.loop.driver import one_at_a_time
from wms_ops.runs.record import RunOutcome, StepState

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 240


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Trains in seconds; the gate lets everything pass, so that all acts have something to play with."""
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny({"mode": "off"}, epochs=20)), encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    require_tool("weed")
    folder = tmp_path / "a démo"
    yield folder
    if (folder / "loop").exists():
        local_cloud(folder / "loop").close()


def start(folder: Path, recipe: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "wms_ops.demo", "--folder", str(folder), "--recipe", str(recipe)]
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "AWS_", "MLFLOW_"))}
    paths = os.pathsep.join(str(ROOT / part) for part in ("WMS/src", "devops/src"))
    # No identity and no settings of a person's: a newcomer may have none.
    environ |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths, "HOME": str(folder.parent / "nobody")}
    return subprocess.Popen(
        [*command, "--photos", "25,12,10", *more],
        cwd=folder.parent,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def left(folder: Path) -> list[psutil.Process]:
    return list(local_cloud(folder / "loop").processes())


@pytest.mark.timeout(300)
def test_the_whole_demo_tells_its_story_and_leaves_nothing_running(folder: Path, recipe: Path) -> None:
    process = start(folder, recipe)
    said = process.communicate(timeout=280)[0]
    assert process.returncode == 1, said[-3000:]  # the gate of this recipe lets the bad masks pass, too
    assert [run.outcome for run in run_store(folder / "loop").runs()] == [RunOutcome.MERGED] * 3
    page = (folder / "index.html").read_text(encoding="utf-8")
    for title in ("The first photos", "More photos", "The model is on the laptop", "Bad masks", "A rollback, and back"):
        assert title in page
    assert "http://" not in page.replace("http://127.0.0.1", "") and "https://" not in page
    assert (folder / "pull-requests" / "0003" / "README.md").is_file()
    assert (folder / "unseen.png").stat().st_size > 10_000
    assert "This isn't how the demo should end: merged, merged, merged" in said
    assert not left(folder)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("stop", of_this_commit("signals to a demo", [signal.SIGINT, signal.SIGTERM], 1))
def test_a_demo_that_is_stopped_takes_everything_down(folder: Path, recipe: Path, stop: signal.Signals) -> None:
    process = start(folder, recipe)
    try:
        wait_for_training(folder, process)
        assert left(folder)
        process.send_signal(stop)
        said = process.communicate(timeout=120)[0]
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, said[-2000:]
    assert "Traceback" not in said
    assert not left(folder)


@pytest.mark.timeout(300)
def test_a_killed_demo_is_cleared_away_by_the_next_one(folder: Path, recipe: Path) -> None:
    process = start(folder, recipe)
    try:
        wait_for_training(folder, process)
    finally:
        process.kill()
        process.communicate()
    assert left(folder)
    clear(folder)
    assert not left(folder)
    assert [path.name for path in folder.iterdir()] == [".wms-demo"]


def wait_for_training(folder: Path, process: subprocess.Popen[str]) -> None:
    store = run_store(folder / "loop")
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        runs = store.runs()
        if runs and runs[-1].step("train").state is StepState.RUNNING:
            return
        time.sleep(0.05)  # a poll's pause
    assert process.poll() is None, process.communicate()[0][-3000:]
    pytest.fail("the demo didn't come to its training")


def test_a_second_demo_in_the_same_folder_says_so(tmp_path: Path) -> None:
    with one_at_a_time(lock_folder(tmp_path / "demo")), pytest.raises(BusyError, match="Another run is at work"):
        main(["--folder", str(tmp_path / "demo")])
    assert not any((tmp_path / "demo").iterdir())


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CloudError, match="other things than a demo"):
        clear(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("version", ["git version 2.30.2", "git version 1.8", "something else"])
def test_a_git_that_is_too_old_is_named(version: str) -> None:
    with pytest.raises(GitError, match=r"too old: git 2\.38 or newer"):
        require_git(version)
    require_git("git version 2.39.5 (Apple Git-154)")


def test_a_disk_without_room_is_named(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError, match="the demo needs 1000000000"):
        check_disk(tmp_path, needed=10**18)
    check_disk(tmp_path, needed=1)


@pytest.mark.parametrize("photos", ["1,2,3", "40,50", "a,b,c"])
def test_photos_are_three_numbers(photos: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--photos", photos])
    assert "three numbers from 10 on" in capsys.readouterr().err
