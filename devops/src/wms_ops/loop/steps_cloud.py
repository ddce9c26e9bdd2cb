"""The steps about the instance: check the budget, start the instance, train on it, and end it."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from wms.errors import ModelNotFoundError, WmsError
from wms.files import parse_json
from wms.metrics import FINAL_DICE, FINAL_IOU
from wms.registry.lineage import CARD
from wms.registry.types import attempts_of
from wms.regular import read_regular
from wms_ops.base.errors import PipelineError
from wms_ops.base.layout import DATA_SET, SPLITS
from wms_ops.base.settings import BudgetSettings
from wms_ops.cost.allowance import allowed_minutes
from wms_ops.cost.budget import check_budget
from wms_ops.cost.estimate import BUSY, cost_of, dollars, estimate_minutes
from wms_ops.cost.prices import Choice
from wms_ops.cost.sessions import Session
from wms_ops.loop.context import Done, RunContext
from wms_ops.loop.workspace import check_out, commit_and_push, refuse_moved_splits, require_commit
from wms_ops.machine.types import CloudState
from wms_ops.runs.record import RunRecord, StepState

CANDIDATE = "WMS/models/candidate"
PREPARED = "WMS/data/prepared.json"


def budget(context: RunContext, values: Mapping[str, str]) -> Done:
    """Refuse a run that would exceed WMS_BUDGET_USD, or WMS_BUDGET_MONTH_USD, before anything is started.

    Raises BudgetError, and UsageError for an instance type or a region that the price table lacks.
    """
    choice = context.cloud.choice()
    rates, limit = choice.rates(), BudgetSettings.read(context.environ).wms_budget_usd
    minutes = estimate_minutes(int(values["photos_total"]), context.config())
    # A spot price may rise to that of on demand, so that's what the budget has to bear.
    check_budget(cost_of(minutes * 60, rates, disk_gb=choice.disk_gb), limit)
    warning = ""
    if context.cloud.billed:
        allowed = allowed_minutes(choice, context.cloud.sessions, context.environ, datetime.now(UTC))
        if minutes > allowed:
            warning = (
                f" Warning: the instance lives for {allowed} minutes, so the training may be cut off; `hours` in "
                "wms.tfvars, or a higher WMS_BUDGET_USD, gives it longer."
            )
    cost = cost_of(minutes * 60, rates, spot=choice.spot, disk_gb=choice.disk_gb)
    outputs = {"estimated_usd": f"{cost.total:.4f}", "estimated_minutes": f"{minutes:.0f}"}
    what = "the instance of record" if choice == Choice() else f"a {choice}"
    return Done(outputs, f"On {what}: about {minutes:.0f} minutes and {cost.total:.2f} USD.{warning}")


def up(context: RunContext, values: Mapping[str, str]) -> Done:
    """Start the instance and wait until MLflow answers its API. Raises CloudError, RegistryUnreachableError.

    None is paid for a commit that is gone: PipelineError.
    """
    if "commit" in values:
        require_commit(context.git, values["commit"], values["branch"])
    endpoints = context.cloud.up()
    context.cloud.wait()
    return Done({"mlflow_uri": endpoints.mlflow}, f"MLflow answers at {endpoints.mlflow}.")


def train(context: RunContext, values: Mapping[str, str]) -> Done:
    """Train once on the whole data set, or continue a killed training. Raises PipelineError.

    The splits of new photos are recorded on the branch first, so that the run belongs to a commit that holds them.
    """
    branch, commit = values["branch"], values["commit"]
    check_out(context, commit, branch)
    recipe = ["--config", context.recipe, "--data", DATA_SET, "--splits", SPLITS]
    _on_instance(context, ["-m", "wms_ops", "data", "fetch"])
    _on_instance(context, ["-m", "wms.training.dvc_stages", "prepare", *recipe, "--output", PREPARED])
    refuse_moved_splits(context.git, commit)
    message = f"Record the splits of {values['photos_new']} new photos"
    commit = commit_and_push(context, branch, [SPLITS], message, before=commit)
    candidate = ["--prepared", PREPARED, "--runs", "runs", "--output", CANDIDATE]
    started = time.monotonic()
    _on_instance(context, ["-m", "wms.training.dvc_stages", "train", *recipe, *candidate])
    seconds = time.monotonic() - started
    card = parse_json(read_regular(context.workspace / CANDIDATE / CARD))
    run = str(card["run"])
    run_id = _handed_over(context, run)
    outputs = {"commit": commit, "run": run, "run_id": run_id, "train_seconds": f"{seconds:.1f}"}
    outputs |= {"dice": str(card[FINAL_DICE]), "iou": str(card[FINAL_IOU])}
    several = f", chosen on validation from {count} attempts" if (count := attempts_of(card)) else ""
    return Done(outputs, f"{run}{several}: test Dice {float(outputs['dice']):.4f}, IoU {float(outputs['iou']):.4f}.")


def down(context: RunContext, values: Mapping[str, str]) -> Done:
    """End the instance. Raises CloudError if any part of the instance is left."""
    context.cloud.down()
    is_gone = context.cloud.status() in (CloudState.ABSENT, CloudState.STOPPING)
    choice = context.cloud.choice()
    seconds = float(values.get("seconds_up", "0"))
    busy = float(values.get("seconds_busy", seconds))
    cost = cost_of(seconds, choice.rates(), spot=choice.spot, busy_seconds=busy, disk_gb=choice.disk_gb)
    what = "The instance is gone" if is_gone else "The instance, which isn't the loop's own, stays"
    verb = "cost" if context.cloud.billed else "would have cost"
    return Done(
        {"cost_usd": f"{cost.total:.4f}"}, f"{what}; {seconds / 60:.1f} minutes of it {verb} {dollars(cost.total)}."
    )


def note(context: RunContext, record: RunRecord) -> None:
    """Record the promoted model version and the time of computing on all cores in the bill's sessions.

    A session counts the work since its own beginning: a run continued after a kill may have had two instances. If
    the store is unreachable, the bill counts all the time as work, and the next call corrects the bill.
    """
    if not context.cloud.billed:
        return
    version = record.outputs.get("version")
    done = [record.step(name) for name in BUSY]
    done = [step for step in done if step.state is StepState.DONE]

    def noted(session: Session) -> Session:
        busy = sum(step.seconds for step in done if datetime.fromisoformat(step.started_at) >= session.begun_at)
        values = {"busy_seconds": busy} if busy else {}
        return session.changed(**values, **({"model_version": int(version)} if version else {}))

    try:
        context.cloud.note(noted, datetime.fromisoformat(record.started_at))
    except WmsError as error:
        context.show(f"warning: the bill lacks what this run has worked and promoted. {error}")


def _handed_over(context: RunContext, run: str) -> str:
    """Return the run's id in MLflow, after sending data that the server lacks. Raises ModelNotFoundError."""
    registry = context.registry()
    found = None
    try:
        found = registry.find_run(run)
    except ModelNotFoundError:
        context.show(f"MLflow lacks {run}; sending it again.")
    if found is None or found.status != "FINISHED":
        _on_instance(context, ["-m", "wms_ops", "runs", "send", f"runs/{run}"])
        found = registry.find_run(run)
    return found.run_id


def _on_instance(context: RunContext, arguments: list[str]) -> None:
    """Run the workspace's own code, which equals main's, on the instance.

    Raises PipelineError with the last line of the command's output.
    """
    source = [context.workspace / part for part in ("WMS/src", "devops/src")]
    environ = {"PYTHONUNBUFFERED": "1", "GITHUB_OUTPUT": ""}  # only the step itself names values
    if all(path.is_dir() for path in source):
        inherited = context.environ.get("PYTHONPATH")
        environ["PYTHONPATH"] = os.pathsep.join([*map(str, source), *([inherited] if inherited else [])])
    log = context.folder / f"{arguments[1].rpartition('.')[2]}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    said: list[str] = []

    def hear(line: str) -> None:
        said.append(line)
        del said[:-20]
        context.show(line)

    command = [sys.executable, *arguments]
    code = context.cloud.run(command, folder=context.workspace, log=log, environ=environ, show=hear)
    if code:
        reason = next((line for line in reversed(said) if line.startswith("error:")), said[-1] if said else "no output")
        error = PipelineError(f"`python {shlex.join(arguments)}` ended with {code}: {reason} Its output: {log}")
        error.exit_code = code  # the command's own says more
        raise error
