"""A pipeline that reruns only changed stages and may be killed at any point.

A stage declares dependencies and hashes inputs; the pipeline skips a stage whose inputs and outputs are unchanged since
the last success. Other modules import every stage class from this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from wms.training.stage_engine import Execution, Plan, check_stages, sort_stages
from wms.training.stage_types import PipelineStage, StageContext, StageFailure, StageReport

__all__ = ["MLOpsPipeline", "PipelineStage", "StageContext", "StageFailure", "StageReport"]


class MLOpsPipeline:
    """Stages in the order of their dependencies; the constructor checks the plan, before any stage runs.

    `state_dir` keeps a JSON file for each stage that can be skipped. Outputs are relative to `folder`, by default the
    folder that holds `state_dir`. `artifacts` are the results of the stages that the last run carried out, `reports`
    the outcome of each stage, both by name and also after a failure. Raises StageError for a duplicate name or a name
    that can't be a file's, an unknown dependency, a cycle, and an output outside the folder or of two stages.
    """

    def __init__(
        self, name: str, stages: Sequence[PipelineStage], state_dir: Path, *, folder: Path | None = None
    ) -> None:
        check_stages(stages)
        by_name = {stage.name: stage for stage in stages}
        self.order = sort_stages(by_name)
        self._plan = Plan(name, by_name, self.order, state_dir, state_dir.parent if folder is None else folder)
        self.artifacts: Mapping[str, object] = {}
        self.reports: Mapping[str, StageReport] = {}

    def run_pipeline(self) -> Mapping[str, object]:
        """Run the stages that changed and return `artifacts`.

        Raises StageFailure, whose cause is the original error, when a stage fails; the stages after it are not run.
        """
        execution = Execution(self._plan)
        self.artifacts, self.reports = execution.results, execution.reports
        for name in self.order:
            execution.attempt(name, execution.run_if_changed)
        return self.artifacts
