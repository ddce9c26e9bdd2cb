"""A run's next step and its outcome: pure functions of the record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from wms_ops.runs.record import STEPS, RunOutcome, RunRecord, StepRecord, StepState

ONLY_IF_BETTER: Final = ("promote", "smoke-deploy", "metadata")
ON_INSTANCE: Final = ("train", "gate", "promote", "smoke-deploy", "metadata")
TELLING: Final = ("report", "pull-request")
LAST: Final = "down"
HELD_BACK: Final = "held back"
"""A decision beside the gate's own: an earlier gate refused these weights by stricter settings."""
_OVER: Final = (StepState.DONE, StepState.SKIPPED, StepState.FAILED)


def next_step(record: RunRecord) -> str | None:
    """Return the step to do now; None when only `down` is left or the run is over."""
    failed = failed_step(record)
    for name in STEPS:
        if name == LAST or record.step(name).state in _OVER:
            continue
        if failed is None or (name in TELLING and (has_branch(record) or was_refused(record))):
            return name
    return None


def skip_pointless(record: RunRecord) -> RunRecord:
    """Mark the steps that an earlier result made pointless as skipped, with the reason."""
    if record.step("validate").state is StepState.DONE and nothing_new(record):
        reason, names = "Main has all of this data already.", STEPS[STEPS.index("budget") : -1]
    elif record.step("gate").state is StepState.DONE and record.outputs.get("passes") != "true":
        reason, names = f"The gate's verdict: {record.outputs.get('decision', 'none')}.", ONLY_IF_BETTER
    else:
        return record
    for name in names:
        if record.step(name).state is StepState.WAITING:
            record = record.with_step(StepRecord(name=name, state=StepState.SKIPPED, text=reason))
    return record


def reopened(record: RunRecord) -> RunRecord:
    """Return a broken run's record for another attempt, which repeats failed and interrupted steps and all reports."""
    broken = {step.name for step in record.steps if step.state in (StepState.FAILED, StepState.RUNNING)}
    again = broken - {step.name for step in record.unknown_steps}  # this version can't do an unknown step
    again |= {*TELLING, LAST}
    if "smoke-deploy" in again:
        again.add("promote")  # a failed deployment has rolled the promotion back
    open_again = undecided(record)
    if open_again:
        again |= {"gate", *ONLY_IF_BETTER}
    # The earlier instance may have ended since.
    if any(record.step(name).state is StepState.WAITING or name in again for name in ON_INSTANCE):
        again.add("up")
    for name in again:
        if record.step(name).state is not StepState.SKIPPED or open_again:
            record = record.with_step(StepRecord(name=name))
    return record.model_copy(update={"outcome": RunOutcome.RUNNING, "reason": ""})


def reopened_in(record: RunRecord, names: Sequence[str]) -> RunRecord:
    """Return the record for another attempt at a part of the run; a part in which nothing broke stays as it is."""
    if set(names) <= set(TELLING):
        for name in names:  # the report is about what happened since, and opening a pull request twice changes nothing
            record = record.with_step(StepRecord(name=name))
        return record
    broken = any(record.step(name).state in (StepState.FAILED, StepState.RUNNING) for name in names)
    return reopened(record) if broken or ("gate" in names and undecided(record)) else record


def broken_off(record: RunRecord) -> RunRecord:
    """Return the record with each step that still runs as failed: the job that carried it out has ended."""
    for step in record.steps:
        if step.state is StepState.RUNNING and step.name in STEPS and step.name not in (*TELLING, LAST):
            text = "its job was killed or cut off before the step was over; run that job again."
            record = record.with_step(step.model_copy(update={"state": StepState.FAILED, "exit_code": 1, "text": text}))
    return record


def warning(record: RunRecord) -> str:
    """Return the sentence about steps that a newer version has added to the run; "" without such steps."""
    names = ", ".join(step.name for step in record.unknown_steps)
    unknown = f"A newer version began this run; {names} is unknown here and stays as it is. Update this clone."
    return unknown if names else ""


def ended(record: RunRecord) -> RunRecord:
    """Return the record with its outcome and the reason."""
    failed = failed_step(record, telling=True)
    values = record.outputs
    if failed is not None:
        outcome, reason = RunOutcome.FAILED, f"The step {failed.name} failed: {failed.text}"
    elif (left := next_step(record)) is not None and left not in TELLING:
        outcome, reason = RunOutcome.FAILED, f"The step {left} was never reached: its job ended before; run it again."
    elif nothing_new(record):
        outcome, reason = RunOutcome.NOTHING, "Main has all of this data already."
    elif values.get("merged"):
        outcome, reason = RunOutcome.MERGED, record.step("gate").text
    elif record.step("metadata").state is StepState.DONE:
        outcome, reason = RunOutcome.WAITING, record.step("pull-request").text
    else:
        outcome, reason = RunOutcome.BLOCKED, values.get("gate_reason", "")
    return record.model_copy(update={"outcome": outcome, "reason": reason})


def exit_code(record: RunRecord) -> int:
    """Return 0 after a merge or without new data, the gate's code for a blocked run, else the failed step's."""
    if record.outcome in (RunOutcome.MERGED, RunOutcome.WAITING, RunOutcome.NOTHING):
        return 0
    return code_of(failed_step(record, telling=True) or record.step("gate"))


def code_of(step: StepRecord) -> int:
    """Return the exit code of a step that failed, 1 for one that no process can end with."""
    return step.exit_code if step.exit_code is not None and 1 <= step.exit_code <= 255 else 1


def failed_step(record: RunRecord, *, telling: bool = False) -> StepRecord | None:
    """Return the first failed step among those that decide; with `telling`, among all."""
    failed = (step for step in record.steps if step.state is StepState.FAILED)
    return next((step for step in failed if telling or step.name not in (*TELLING, LAST)), None)


def undecided(record: RunRecord) -> bool:
    """Return whether the gate couldn't decide; with the cause mended, the gate may."""
    return record.outputs.get("decision") == "cannot decide"


def nothing_new(record: RunRecord) -> bool:
    """Return whether the branch's data set equals main's: no photo was added or removed."""
    values = record.outputs
    return (
        "photos_total" in values and values["photos_new"] == "0" and values["photos_total"] == values["photos_before"]
    )


def was_refused(record: RunRecord) -> bool:
    """Return whether the branch's data was refused: there is nothing to review, and its author is told."""
    failed = failed_step(record)
    return failed is not None and failed.name in ("merge", "validate")


def has_branch(record: RunRecord) -> bool:
    """Return whether a data branch has a known commit, so that a pull request makes sense."""
    return bool(record.outputs.get("commit"))
