"""The pipeline: a checked plan, and stages that run only when something changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from stage_workshop import Workshop, simple

from wms.errors import StageError, StageFailedError
from wms.training.stages import MLOpsPipeline, PipelineStage, StageContext


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def test_order_keeps_declaration_where_it_can(tmp_path: Path) -> None:
    stages = [simple("z"), simple("last", "m", "z"), simple("m", "a"), simple("b"), simple("a")]
    assert MLOpsPipeline("p", stages, tmp_path).order == ("z", "b", "a", "m", "last")


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([simple("a"), simple("a")], "'a' is defined 2 times"),
        ([simple("load_data"), simple("b", "load_dta")], "did you mean 'load_data'"),
        ([simple("a", "b"), simple("b", "a")], "circle: a -> b -> a;"),
        (
            [simple("x", "a"), simple("a", "b"), simple("b", "c"), simple("c", "a")],
            "circle: a -> b -> c -> a;",
        ),
        ([simple("a", "a")], "circle: a -> a;"),
        ([simple("../a")], "can't be a file's name"),
        (
            [PipelineStage.from_function("a", str, outputs=(Path("../x"),))],
            "must lie in the pipeline's folder",
        ),
        ([PipelineStage.from_function(n, str, outputs=(Path("x"),)) for n in "ab"], "several stages"),
    ],
)
def test_a_wrong_plan_is_refused(tmp_path: Path, stages: list[PipelineStage], message: str) -> None:
    with pytest.raises(StageError, match=message):
        MLOpsPipeline("p", stages, tmp_path / "state")
    assert not (tmp_path / "state").exists()


def test_nothing_runs_twice_without_a_reason(workshop: Workshop) -> None:
    assert workshop.run() == ["a", "b", "c"]
    assert workshop.statuses() == ["done"] * 3
    first = workshop.pipeline
    assert workshop.run() == []
    assert workshop.statuses() == ["skipped"] * 3
    assert workshop.pipeline.artifacts == {}
    fingerprints = [report.fingerprint for report in workshop.pipeline.reports.values()]
    assert fingerprints == [report.fingerprint for report in first.reports.values()]


def test_a_changed_input_runs_the_stage_and_what_follows(workshop: Workshop) -> None:
    workshop.run()
    workshop.values["b"] = "2"
    assert workshop.run() == ["b", "a", "c"]  # b needs the result of a
    assert workshop.statuses() == ["done"] * 3
    assert workshop.pipeline.artifacts == {"a": "a1", "b": "b2a1", "c": "c1b2a1"}
    assert (workshop.folder / "c.txt").read_text() == "c1b2a1"


@pytest.mark.parametrize("damage", [lambda p: p.unlink(), lambda p: p.write_text("tampered")])
def test_a_lost_or_changed_output_is_made_again(workshop: Workshop, damage: Callable[[Path], object]) -> None:
    workshop.run()
    damage(workshop.folder / "b.txt")
    # b comes out as it was, so that c may be skipped.
    assert workshop.run() == ["b", "a"]
    assert workshop.statuses() == ["done", "done", "skipped"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b'{"fingerprint":"x","outputs":{}}'])
def test_a_damaged_record_means_run_again(workshop: Workshop, content: bytes) -> None:
    workshop.run()
    (workshop.folder / "state" / "a.json").write_bytes(content)
    assert workshop.run() == ["a"]
    assert workshop.run() == []


def test_another_output_of_a_rerun_reaches_the_dependents(tmp_path: Path) -> None:
    calls: list[str] = []

    def draw(context: StageContext) -> None:
        calls.append("draw")
        (context.folder / "random").write_bytes(os.urandom(8))

    stages = [
        PipelineStage.from_function("draw", draw, outputs=(Path("random"),), fingerprint=lambda _: "same"),
        PipelineStage.from_function(
            "use", lambda _: calls.append("use"), depends_on=("draw",), fingerprint=lambda _: "same"
        ),
    ]
    pipeline = MLOpsPipeline("p", stages, tmp_path / "state")
    pipeline.run_pipeline()
    (tmp_path / "random").unlink()
    pipeline.run_pipeline()
    assert calls == ["draw", "use"] * 2


def test_a_skipped_stage_runs_when_its_result_is_needed(workshop: Workshop) -> None:
    workshop.run()
    assert workshop.run() == []
    workshop.values["c"] = "2"
    assert workshop.run() == ["c", "b", "a"]  # each asks for the one before it
    assert workshop.statuses() == ["done"] * 3
    assert workshop.run() == []


def test_a_stage_without_fingerprint_and_what_follows_always_run(tmp_path: Path) -> None:
    calls: list[str] = []
    stages = [
        simple("memory", run=lambda _: calls.append("memory")),
        PipelineStage.from_function(
            "next", lambda _: calls.append("next"), depends_on=("memory",), fingerprint=lambda _: "same"
        ),
    ]
    pipeline = MLOpsPipeline("p", stages, tmp_path / "state")
    pipeline.run_pipeline()
    pipeline.run_pipeline()
    assert calls == ["memory", "next"] * 2
    assert pipeline.reports["next"].fingerprint is None
    assert not (tmp_path / "state").exists()


def test_a_folder_as_output_is_hashed_by_its_files(tmp_path: Path) -> None:
    def run(context: StageContext) -> None:
        (context.folder / "images" / "sub").mkdir(parents=True, exist_ok=True)
        (context.folder / "images" / "sub" / "1.txt").write_text("one")

    made = PipelineStage.from_function("s", run, outputs=(Path("images"),), fingerprint=lambda _: "same")
    pipeline = MLOpsPipeline("p", [made], tmp_path / "elsewhere", folder=tmp_path / "run")
    pipeline.run_pipeline()
    assert pipeline.reports["s"].status == "done"
    pipeline.run_pipeline()
    assert pipeline.reports["s"].status == "skipped"
    (tmp_path / "run" / "images" / "sub" / "1.txt").write_text("two")
    pipeline.run_pipeline()
    assert pipeline.reports["s"].status == "done"


def test_subclass_and_function(tmp_path: Path) -> None:
    class Load(PipelineStage):
        name = "load"
        number = 21

        def run(self, context: StageContext) -> int:
            return self.number

        def validate(self, result: int) -> None:
            if result < 0:
                raise ValueError("The number is negative.")

    load = Load()
    double = simple("double", "load", run=lambda context: context.result("load") * 2)
    pipeline = MLOpsPipeline("p", [double, load], tmp_path / "state")
    assert pipeline.run_pipeline() == pipeline.artifacts == {"load": 21, "double": 42}
    load.number = -1
    with pytest.raises(StageFailedError, match=r"^Stage 'load' failed: The number is negative\.$"):
        pipeline.run_pipeline()
    assert pipeline.artifacts == {}
