"""`make demo` at a small scale: all its acts, what it refuses, and that nothing is left however it ends."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from demo_process import DemoProcess
from loop_shop import tiny
from s3_server import require_tool

from wms.errors import DiskFullError
from wms_ops.base.errors import BusyError, CloudError, GitError
from wms_ops.demo.cli import lock_folder, main
from wms_ops.demo.folder import check_disk, clear
from wms_ops.git.command import require_git
from wms_ops.loop.driver import one_at_a_time
from wms_ops.runs.record import RunOutcome

ROOT = Path(__file__).resolve().parents[2]


def start(folder: Path) -> DemoProcess:
    """A demo in a folder beside its recipe, which trains in seconds; its gate lets everything pass."""
    require_tool("weed")
    recipe = folder.with_name("tiny.yaml")
    recipe.write_text(yaml.safe_dump(tiny({"mode": "off"}, epochs=20)), encoding="utf-8")
    command = [sys.executable, "-m", "wms_ops.demo", "--folder", str(folder), "--recipe", str(recipe)]
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "AWS_", "MLFLOW_"))}
    paths = os.pathsep.join(str(ROOT / part) for part in ("WMS/src", "devops/src"))
    # No identity and no settings of a person's: a newcomer may have none.
    environ |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths, "HOME": str(folder.parent / "nobody")}
    return DemoProcess.start(folder, [*command, "--photos", "25,12,10"], cwd=folder.parent, environ=environ)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoProcess]:
    """A demo that plays to its end; the tests that use it await one act after the other."""
    demo = start(tmp_path_factory.mktemp("whole") / "a démo")
    yield demo
    demo.close()


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[DemoProcess]:
    """A demo whose first model is being trained."""
    demo = start(tmp_path / "a démo")
    try:
        demo.wait_for_training()
        assert demo.left()
        yield demo
    finally:
        demo.close()


@pytest.mark.slice("whole demos", of=2, number=0)
@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_each_push_of_the_demo_is_merged(whole: DemoProcess, number: int) -> None:
    assert whole.wait_for_run(number).outcome is RunOutcome.MERGED  # this gate lets the bad masks pass, too


@pytest.mark.slice("whole demos", of=2, number=0)
@pytest.mark.timeout(300)
def test_the_whole_demo_tells_its_story_and_leaves_nothing_running(whole: DemoProcess) -> None:
    assert whole.finish() == 1, whole.said[-3000:]
    assert [run.outcome for run in whole.runs()] == [RunOutcome.MERGED] * 3
    page = (whole.folder / "index.html").read_text(encoding="utf-8")
    for title in ("The first photos", "More photos", "The model is on the laptop", "Bad masks", "A rollback, and back"):
        assert title in page
    assert "http://" not in page.replace("http://127.0.0.1", "") and "https://" not in page
    assert (whole.folder / "pull-requests" / "0003" / "README.md").is_file()
    assert (whole.folder / "unseen.png").stat().st_size > 10_000
    assert "This isn't how the demo should end: merged, merged, merged" in whole.said
    assert not whole.left()


@pytest.mark.slice("stopped demos", of=3)
@pytest.mark.timeout(300)
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_stopped_takes_everything_down(demo: DemoProcess, stop: signal.Signals) -> None:
    demo.process.send_signal(stop)
    assert demo.finish() == 130, demo.said[-2000:]
    assert "Traceback" not in demo.said
    assert not demo.left()


@pytest.mark.slice("stopped demos", of=3)
@pytest.mark.timeout(300)
def test_a_killed_demo_is_cleared_away_by_the_next_one(demo: DemoProcess) -> None:
    demo.process.kill()
    demo.process.wait()
    assert demo.left()
    clear(demo.folder)
    assert not demo.left()
    assert [path.name for path in demo.folder.iterdir()] == [".wms-demo"]


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
