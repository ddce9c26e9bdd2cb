"""Stages for the pipeline's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from wms.files import sha256_text
from wms.training.stages import MLOpsPipeline, PipelineStage, StageContext


class Workshop:
    """Stages a -> b -> c on real files, which note when they run; inputs are `values`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[str] = []
        self.restorable = True
        self.broken = ""
        self.values: dict[str, Any] = {"a": "1", "b": "1", "c": "1"}

    def make(self, name: str, *depends_on: str) -> PipelineStage:
        output = Path(f"{name}.txt")

        def run(context: StageContext) -> str:
            self.calls.append(name)
            if name == self.broken:
                raise ValueError(f"{name} is broken.")
            text = name + context.values[name] + "".join(context.result(d) for d in depends_on)
            (context.folder / output).write_text(text)
            return text

        def restore(context: StageContext) -> str:
            self.calls.append(f"restore {name}")
            return (context.folder / output).read_text()

        return PipelineStage.from_function(
            name,
            run,
            depends_on=depends_on,
            outputs=(output,),
            fingerprint=lambda context: sha256_text(context.values[name]),
            **({"restore": restore} if self.restorable else {}),
        )

    def run(self, **options: Any) -> list[str]:
        self.calls.clear()
        stages = [self.make("a"), self.make("b", "a"), self.make("c", "b")]
        self.pipeline = MLOpsPipeline("demo", stages, self.folder / "state")
        self.report = self.pipeline.run(values=self.values, **options)
        return list(self.calls)

    def statuses(self) -> list[str]:
        return [report.status for report in self.report.stages.values()]


def simple(name: str, *depends_on: str, run: Callable[[StageContext], object] = lambda _: 1) -> PipelineStage:
    return PipelineStage.from_function(name, run, depends_on=depends_on)
