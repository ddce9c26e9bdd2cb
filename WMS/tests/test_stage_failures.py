"""The pipeline when something goes wrong, and what it reports: failures, times, kills."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from stage_workshop import Workshop, simple

import wms
from wms.errors import DataNotFoundError, DiskFullError, StageError, StageFailedError, run_main
from wms.training.stages import MLOpsPipeline, PipelineStage, StageContext


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def test_a_failure_carries_stage_cause_report_and_exit_code(tmp_path: Path) -> None:
    original = DataNotFoundError("Images directory not found: x")

    def fail(_: StageContext) -> None:
        raise original

    pipeline = MLOpsPipeline("p", [simple("ok"), simple("bad", "ok", run=fail), simple("later", "bad")], tmp_path)
    with pytest.raises(StageFailedError) as caught:
        pipeline.run_pipeline()
    failure: Any = caught.value
    assert str(failure) == "Stage 'bad' failed: Images directory not found: x"
    assert (failure.stage, failure.__cause__) == ("bad", original)
    assert [r.status for r in pipeline.reports.values()] == ["done", "failed", "not run"]
    assert pipeline.reports["bad"].error == str(failure)

    def entry(_: object) -> int:
        pipeline.run_pipeline()
        return 0

    assert run_main(entry) == failure.exit_code == DataNotFoundError.exit_code
    assert StageFailedError.exit_code == 61


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (KeyError("k"), 61, "KeyError: 'k'"),
        (OSError(28, "No space left on device"), DiskFullError.exit_code, "No space left"),
        (FileNotFoundError(2, "No such file"), 61, "No such file"),
    ],
)
def test_unforeseen_errors_keep_their_kind_and_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: Exception, code: int, text: str
) -> None:
    def fail(_: StageContext) -> None:
        raise error

    with pytest.raises(StageFailedError, match=text) as caught:
        MLOpsPipeline("p", [simple("bad", run=fail)], tmp_path).run_pipeline()
    assert caught.value.exit_code == code
    assert "Traceback" in caplog.text


def test_an_undeclared_result_and_a_missing_output_fail(tmp_path: Path) -> None:
    curious = simple("curious", run=lambda context: context.result("a"))
    with pytest.raises(StageFailedError, match="asked for the result of 'a'") as caught:
        MLOpsPipeline("p", [simple("a"), curious], tmp_path).run_pipeline()
    assert isinstance(caught.value.__cause__, StageError)
    lazy = PipelineStage.from_function("lazy", str, outputs=(Path("x"),), fingerprint=lambda _: "same")
    with pytest.raises(StageFailedError, match=r"^Stage 'lazy' failed: its output .*x is missing"):
        MLOpsPipeline("p", [lazy], tmp_path / "state").run_pipeline()
    assert not (tmp_path / "state").exists()


def test_a_dependency_that_fails_on_demand_is_the_one_that_failed(workshop: Workshop) -> None:
    workshop.run()
    workshop.values |= {"c": "2"}
    workshop.broken = "a"
    with pytest.raises(StageFailedError, match=r"^Stage 'a' failed: a is broken") as caught:
        workshop.run()
    failure: Any = caught.value
    assert failure.stage == "a"
    assert workshop.statuses() == ["failed"] * 3
    assert {report.error for report in workshop.pipeline.reports.values()} == {str(failure)}
    workshop.broken = ""
    assert workshop.run() == ["a", "b", "c"]


def test_seconds_leave_out_what_ran_for_another_stage(tmp_path: Path) -> None:
    def slow(_: StageContext) -> int:
        time.sleep(1)  # far longer than the other stage, also on a busy machine
        return 1

    wanted = ["1"]
    first = PipelineStage.from_function("first", slow, fingerprint=lambda _: "same")
    second = PipelineStage.from_function(
        "second",
        lambda context: context.result("first"),
        depends_on=("first",),
        fingerprint=lambda _: wanted[0],
    )
    pipeline = MLOpsPipeline("p", [first, second], tmp_path)
    pipeline.run_pipeline()
    wanted[0] = "2"
    pipeline.run_pipeline()
    assert pipeline.reports["first"].seconds >= 1
    assert pipeline.reports["second"].seconds < 1


def test_ctrl_c_passes_through(tmp_path: Path) -> None:
    def interrupt(_: StageContext) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        MLOpsPipeline("p", [simple("a", run=interrupt)], tmp_path).run_pipeline()


PROGRAM = """
import sys, time
from pathlib import Path
from wms.training.stages import MLOpsPipeline, PipelineStage

folder, wait = Path(sys.argv[1]), float(sys.argv[2])

def note(text):
    with (folder / "calls").open("a") as stream:
        stream.write(text + "\\n")

def first(context):
    note("first")
    (folder / "first.txt").write_text("whole")

def second(context):
    note("second")
    (folder / "second.txt").write_text("ha")
    time.sleep(wait)
    (folder / "second.txt").write_text("half and half")

make, same = PipelineStage.from_function, lambda _: "1"
stages = [
    make("first", first, outputs=(Path("first.txt"),), fingerprint=same),
    make("second", second, depends_on=("first",), outputs=(Path("second.txt"),), fingerprint=same),
]
MLOpsPipeline("p", stages, folder / "state").run_pipeline()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize("finished_before", [False, True])
def test_a_stage_that_is_killed_runs_again(tmp_path: Path, finished_before: bool) -> None:
    environment = {"PYTHONPATH": str(Path(wms.__file__).parents[1])}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    if finished_before:
        subprocess.run([*command, "0"], env=environment, check=True)
        (tmp_path / "second.txt").unlink()
        (tmp_path / "calls").unlink()
    process = subprocess.Popen([*command, "60"], env=environment)
    deadline = time.monotonic() + 60
    while not (tmp_path / "second.txt").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert [p.name for p in (tmp_path / "state").iterdir()] == ["first.json"]
    subprocess.run([*command, "0"], env=environment, check=True)
    assert (tmp_path / "second.txt").read_text() == "half and half"
    assert (tmp_path / "calls").read_text().split() == (
        ["second", "second"] if finished_before else ["first", "second", "second"]
    )
    assert set(json.loads((tmp_path / "state" / "second.json").read_text())) == {"fingerprint", "outputs"}
