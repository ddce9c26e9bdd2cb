"""A pipeline of stages that runs again only what changed, and that may be killed at any point.

A stage says what it depends on and hashes its inputs; the pipeline skips it when neither its inputs nor
its outputs have changed since it last succeeded. All that other modules need of stages is imported from here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from wms.errors import StageError
from wms.training.stage_engine import Execution, Plan, check_stages, sort_stages, unknown_stage
from wms.training.stage_types import (
    PipelineReport,
    PipelineStage,
    StageContext,
    StageEvent,
    StageFailure,
    StageOptions,
    StageReport,
    stage,
)

__all__ = [
    "MLOpsPipeline",
    "PipelineReport",
    "PipelineStage",
    "StageContext",
    "StageEvent",
    "StageFailure",
    "StageOptions",
    "StageReport",
    "stage",
]


class MLOpsPipeline:
    """Stages in the order that their dependencies ask for; the plan is checked here, before anything runs.

    `state_dir` keeps one JSON file for each stage that can be skipped. Outputs are relative to `folder`,
    by default the folder that holds `state_dir`. Raises StageError for a name that is used twice or can't
    be a file's name, an unknown dependency, a cycle, and an output outside the folder or of two stages.
    """

    def __init__(
        self, name: str, stages: Sequence[PipelineStage], state_dir: Path, *, folder: Path | None = None
    ) -> None:
        check_stages(stages)
        self.name = name
        self.state_dir = state_dir
        self.folder = state_dir.parent if folder is None else folder
        self.stages = {stage.name: stage for stage in stages}
        self._order = sort_stages(self.stages)

    def order(self) -> tuple[str, ...]:
        """The stages' names, dependencies first; in the order of declaration where that leaves a choice."""
        return self._order

    def run(
        self,
        *,
        force: Collection[str] = (),
        values: Mapping[str, Any] | None = None,
        on_event: Callable[[StageEvent], None] | None = None,
    ) -> PipelineReport:
        """Run the stages that changed and those in `force`; each stage reads `values` in its context.

        Raises StageError for an unknown name in `force`, and StageFailure, whose cause is the original
        error, when a stage fails; the stages after it are not run.
        """
        for name in force:
            if name not in self.stages:
                raise StageError(f"Can't force stage {name!r}: {unknown_stage(name, self.stages)}")
        plan = Plan(self.name, self.stages, self._order, self.state_dir, self.folder)
        execution = Execution(plan, values or {}, on_event or (lambda _: None))
        try:
            for name in self._order:
                execution.attempt(name, execution.run if name in force else execution.run_if_changed)
        except StageFailure as failure:
            failure.report = PipelineReport(self.name, execution.reports)
            raise
        return PipelineReport(self.name, execution.reports)
