"""Stages for the pipeline's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from wms.files import sha256_text
from wms.training.stages import MLOpsPipeline, PipelineStage, StageContext


class Workshop:
    """Stages a -> b -> c on real files, which note when they run; inputs are `values`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[str] = []
        self.broken = ""
        self.values: dict[str, str] = {"a": "1", "b": "1", "c": "1"}

    def make(self, name: str, *depends_on: str) -> PipelineStage:
        output = Path(f"{name}.txt")

        def run(context: StageContext) -> str:
            self.calls.append(name)
            if name == self.broken:
                raise ValueError(f"{name} is broken.")
            text = name + self.values[name] + "".join(context.result(d) for d in depends_on)
            (context.folder / output).write_text(text)
            return text

        return PipelineStage.from_function(
            name,
            run,
            depends_on=depends_on,
            outputs=(output,),
            fingerprint=lambda _: sha256_text(self.values[name]),
        )

    def run(self) -> list[str]:
        self.calls.clear()
        stages = [self.make("a"), self.make("b", "a"), self.make("c", "b")]
        self.pipeline = MLOpsPipeline("demo", stages, self.folder / "state")
        self.pipeline.run_pipeline()
        return list(self.calls)

    def statuses(self) -> list[str]:
        return [report.status for report in self.pipeline.reports.values()]


def simple(name: str, *depends_on: str, run: Callable[[StageContext], object] = lambda _: 1) -> PipelineStage:
    return PipelineStage.from_function(name, run, depends_on=depends_on)
