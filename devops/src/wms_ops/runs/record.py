"""What happened in one run of the loop: frozen values, kept as JSON, from which reports and the driver are made."""

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
    """Where a step is. `skipped`: an earlier step made it pointless, which `text` says."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


class RunOutcome(StrEnum):
    """How a run ended; `failed` means that no verdict was reached, or that it couldn't be carried out.

    `waiting`: all is done, and the pull request merges by itself once a person has approved it.
    """

    RUNNING = "running"
    MERGED = "merged"
    WAITING = "waiting for a review"
    BLOCKED = "blocked"
    NOTHING = "nothing to do"
    FAILED = "failed"


class StepRecord(StoredRecord):
    """One step: `started_at` is UTC, ISO 8601; `outputs` are its named values; `text` says what happened."""

    name: str
    state: StepState = StepState.WAITING
    started_at: str = ""
    seconds: float = 0.0
    exit_code: int | None = None
    outputs: dict[str, str] = Field(default_factory=dict)
    text: str = ""


class RunRecord(StoredRecord):
    """One run of the loop for a data branch, from its start to the instance's end. Costs are in US dollars.

    A step that the stored record lacks, because older code began the run, is pending. A step that this version doesn't
    know stays where it stood: nothing here carries it out or changes it.
    """

    id: str
    branch: str
    started_at: str
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
                found.insert(names.index(STEPS[index - 1]) + 1 if index else 0, StepRecord(name=name))
        return tuple(found)

    @property
    def unknown_steps(self) -> tuple[StepRecord, ...]:
        """The steps that a newer version has added."""
        return tuple(step for step in self.steps if step.name not in STEPS)

    def step(self, name: str) -> StepRecord:
        """The record of one step. Raises KeyError for a name that is no step."""
        return {step.name: step for step in self.steps}[name]

    @property
    def outputs(self) -> dict[str, str]:
        """The named values of all steps; of two equal names the later step's."""
        return {name: value for step in self.steps for name, value in step.outputs.items()}

    @property
    def seconds(self) -> float:
        """Time spent in steps."""
        return sum(step.seconds for step in self.steps)

    def with_step(self, step: StepRecord) -> RunRecord:
        """The record with one step replaced."""
        steps = tuple(step if one.name == step.name else one for one in self.steps)
        return self.model_copy(update={"steps": steps})
