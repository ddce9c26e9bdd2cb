"""All steps by name: their required values, and how a step runs with its record written before and after."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from wms.errors import WmsError
from wms_ops.base.errors import PipelineError
from wms_ops.base.settings import StepSettings
from wms_ops.cost.estimate import BUSY
from wms_ops.loop import steps_cloud, steps_data, steps_decide, steps_deploy, steps_publish
from wms_ops.loop.context import Done, RunContext
from wms_ops.loop.workspace import stand_at
from wms_ops.runs.record import RunRecord, StepRecord, StepState
from wms_ops.runs.store import RunStore


@dataclass(frozen=True)
class Step:
    """A step: `work` gets the named values, `needs` lists the values that the step requires."""

    work: Callable[[RunContext, RunRecord, Mapping[str, str]], Done]
    needs: tuple[str, ...] = ()


def _plain(work: Callable[[RunContext, Mapping[str, str]], Done], *needs: str) -> Step:
    return Step(lambda context, _record, values: work(context, values), needs)


def _whole(work: Callable[[RunContext, RunRecord], Done], *needs: str) -> Step:
    return Step(lambda context, record, _values: work(context, record), needs)


def _down(context: RunContext, record: RunRecord, values: Mapping[str, str]) -> Done:
    started = record.step("up").started_at
    seconds = time.time() - datetime.fromisoformat(started).timestamp() if started else 0.0
    busy = sum(record.step(name).seconds for name in BUSY)
    return steps_cloud.down(context, {**values, "seconds_up": f"{seconds:.1f}", "seconds_busy": f"{busy:.1f}"})


IN_TREE: Final = ("gate", "promote", "smoke-deploy")
"""The steps that read main's recipe or the ledger from the work tree, which the clone of a new job lacks."""

TABLE: Mapping[str, Step] = {
    "merge": Step(steps_data.merge, ("branch",)),
    "validate": Step(steps_data.validate, ("branch", "commit")),
    "budget": _plain(steps_cloud.budget, "photos_total"),
    "up": _plain(steps_cloud.up),
    "train": _plain(steps_cloud.train, "branch", "commit", "photos_new"),
    "gate": _plain(steps_decide.gate, "commit", "run_id"),
    "promote": _plain(steps_decide.promote, "commit", "run_id"),
    "smoke-deploy": _plain(steps_deploy.smoke_deploy, "commit", "version"),
    "metadata": _plain(steps_publish.metadata, "branch", "commit", "version", "run", "run_id"),
    "report": _whole(steps_publish.report, "branch"),
    "pull-request": _whole(steps_publish.pull_request, "branch"),
    "down": Step(_down),
}


def carry_out(context: RunContext, store: RunStore, record: RunRecord, name: str) -> RunRecord:
    """Carry out a step and return the record, saved before and after.

    Raises the step's WmsError once the record says `failed`; any other interruption leaves `running`.
    """
    step = TABLE[name]
    started, clock = datetime.now(UTC), time.monotonic()
    begun = StepRecord(name=name, state=StepState.RUNNING, started_at=started.isoformat(timespec="milliseconds"))
    record = record.with_step(begun)
    store.save(record)
    try:
        values = values_for(step, name, record, context.environ)
        if name in IN_TREE:
            stand_at(context, values["commit"], values["branch"])
        done = step.work(context, record, values)
    except WmsError as error:
        ended = {"state": StepState.FAILED, "exit_code": error.exit_code, "text": str(error)}
        store.save(record.with_step(begun.model_copy(update={**ended, "seconds": time.monotonic() - clock})))
        raise
    ended = {"state": StepState.DONE, "exit_code": done.exit_code, "text": done.text, "outputs": dict(done.outputs)}
    record = record.with_step(begun.model_copy(update={**ended, "seconds": time.monotonic() - clock}))
    store.save(record)
    if name in (*BUSY, "promote", "down"):
        steps_cloud.note(context, record)
    return record


def values_for(step: Step, name: str, record: RunRecord, environ: Mapping[str, str]) -> dict[str, str]:
    """The record's values; missing ones come from the environment. Raises PipelineError for a value in neither."""
    values = {"branch": record.branch, **record.outputs}
    for need in step.needs:
        if need not in values and (given := getattr(StepSettings.read(environ), f"wms_{need}")):
            values[need] = given
        if need not in values:
            raise PipelineError(
                f"Step {name} has no {need}; nothing was changed. Run the steps before it first, or set "
                f"WMS_{need.upper()}."
            )
    return values
