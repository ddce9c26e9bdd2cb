"""The record of one run of the loop: frozen values, kept as JSON, from which reports and the driver are made."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field, field_validator

from wms.records import StoredRecord

STEPS = (
    "merge",
    "validate",
    "budget",
    "up",
    "train",
    "gate",
    "promote",
    "smoke-deploy",
    "metadata",
    "report",
    "pull-request",
    "down",
)
"""The steps of the loop in their order."""


class StepState(StrEnum):
    """The state of a step. `skipped`: an earlier step made this step pointless, and `text` says why."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


class RunOutcome(StrEnum):
    """The outcome of a run; `failed` means that no verdict was reached or carried out.

    `waiting`: all steps are done, and the pull request merges by itself once a person has approved the merge.
    """

    RUNNING = "running"
    MERGED = "merged"
    WAITING = "waiting for a review"
    BLOCKED = "blocked"
    NOTHING = "nothing to do"
    FAILED = "failed"


class StepRecord(StoredRecord):
    """The record of a step: `started_at` is UTC, ISO 8601; `outputs` are named values; `text` says the result."""

    name: str
    state: StepState = StepState.WAITING
    started_at: str = ""
    seconds: float = Field(default=0.0, ge=0, le=1e8)
    exit_code: int | None = None
    outputs: dict[str, str] = Field(default_factory=dict)
    text: str = ""


class RunRecord(StoredRecord):
    """The record of the loop's run for a data branch, from its start to the instance's end. Costs are in US dollars.

    `pushed` is the commit that a run in parts was started for; a run in one takes the branch as it is.

    A step that the stored record lacks, because older code began the run, is pending. A step that this version doesn't
    know keeps its state: no code here carries the step out or changes its record.
    """

    id: str
    branch: str
    started_at: str
    pushed: str = ""
    outcome: RunOutcome = RunOutcome.RUNNING
    reason: str = ""
    steps: tuple[StepRecord, ...] = Field(default=(), validate_default=True)

    @field_validator("steps")
    @classmethod
    def _add_missing(cls, steps: tuple[StepRecord, ...]) -> tuple[StepRecord, ...]:
        found = list(steps)
        for index, name in enumerate(STEPS):
            names = [step.name for step in found]
            if name not in names:
                # Behind its predecessor in STEPS, wherever unknown steps of a newer version stand.
                found.insert(names.index(STEPS[index - 1]) + 1 if index else 0, StepRecord(name=name))
        return tuple(found)

    @property
    def unknown_steps(self) -> tuple[StepRecord, ...]:
        """The steps that a newer version has added."""
        return tuple(step for step in self.steps if step.name not in STEPS)

    def step(self, name: str) -> StepRecord:
        """Return the record of a step. Raises KeyError for an unknown name."""
        return {step.name: step for step in self.steps}[name]

    @property
    def outputs(self) -> dict[str, str]:
        """The named values of all steps; of two equal names the later step's."""
        return {name: value for step in self.steps for name, value in step.outputs.items()}

    @property
    def seconds(self) -> float:
        """Seconds spent in steps."""
        return sum(step.seconds for step in self.steps)

    def with_step(self, step: StepRecord) -> RunRecord:
        """Return the record with `step` instead of its namesake."""
        steps = tuple(step if old.name == step.name else old for old in self.steps)
        return self.model_copy(update={"steps": steps})
