"""A signal at a step of the loop, a second run, and a look at whether all is as without it."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass

from loop_shop import LoopShop

from wms_ops.base.errors import PipelineError
from wms_ops.machine.types import CloudState
from wms_ops.runs.record import STEPS, RunOutcome, RunRecord, StepState

LIMIT_S = 240.0
TRAINING = "training"


@dataclass(frozen=True)
class Kill:
    """What became of a loop that was killed at `step`; `wrong` lists what isn't as it should be."""

    step: str
    killed: bool
    seconds: float
    wrong: tuple[str, ...]


def kill_and_repeat(shop: LoopShop, step: str, photos: int = 6, number: signal.Signals = signal.SIGKILL) -> Kill:
    """Push new photos, start the loop, send it a signal as soon as `step` runs, start it again, and look.

    After Ctrl-C the instance must be down before the loop ends.
    """
    shop.shell("git", "pull", "--quiet")
    before = shop.ledger()
    count = len(shop.data().pairs)
    shop.commit_photos(photos)
    branch = shop.push()
    killed, code = start_and_stop(shop, branch, step, number)
    wrong = []
    # The teardown itself can't be interrupted: the loop ends as if nobody had tried.
    ends = 0 if step == "down" else 130
    if number is signal.SIGINT and (code != ends or shop.cloud.status() is not CloudState.ABSENT):
        wrong.append(f"Ctrl-C left the instance {shop.cloud.status()}, exit code {code}")
    started = time.monotonic()
    said = shop.run(branch, expect=None)
    seconds = time.monotonic() - started
    return Kill(step, killed, seconds, (*wrong, *look(shop, branch, before, count + photos, said)))


def start_and_stop(shop: LoopShop, branch: str, step: str, number: signal.Signals) -> tuple[bool, int | None]:
    """Whether the loop was still at that step when the signal came, and its exit code."""
    process = shop.start(branch)
    deadline = time.monotonic() + LIMIT_S
    try:
        while time.monotonic() < deadline and process.poll() is None:
            record = newest(shop, branch)
            if record is not None and _is_at(shop, record, branch, step):
                process.send_signal(number)
                code = process.wait(LIMIT_S)
                now = newest(shop, branch)
                name = "train" if step == TRAINING else step
                return now is not None and now.step(name).state is StepState.RUNNING, code
            time.sleep(0.02)  # a poll's pause
    finally:
        process.kill()
        process.wait()
    return False, process.returncode


def _is_at(shop: LoopShop, record: RunRecord, branch: str, step: str) -> bool:
    """Whether the step runs; TRAINING is later in `train`: the splits are on the branch by then."""
    if step != TRAINING:
        return record.step(step).state is StepState.RUNNING
    moved = shop.branches().get(branch) != record.outputs.get("commit")
    return record.step("train").state is StepState.RUNNING and moved


def newest(shop: LoopShop, branch: str) -> RunRecord | None:
    try:
        return shop.record(branch)
    except (AssertionError, PipelineError):
        return None


def look(shop: LoopShop, branch: str, before: list[dict[str, object]], photos: int, said: str) -> list[str]:
    """What differs from a loop that nobody disturbed."""
    wrong = []
    record = shop.record(branch)
    if record.outcome is not RunOutcome.MERGED:
        wrong.append(f"outcome {record.outcome}: {record.reason or said[-300:]}")
    data, ledger = shop.data(), shop.ledger()
    if len(data.pairs) != photos:
        wrong.append(f"{len(data.pairs)} photos on main, not {photos}")
    if shop.store().missing(data.oids):
        wrong.append("files are missing in the store")
    if len(ledger) != len(before) + 1 or ledger[: len(before)] != before:
        wrong.append(f"{len(ledger) - len(before)} new ledger entries")
    metadata = shop.metadata()
    if not metadata or not ledger or metadata["run_id"] != ledger[-1]["run_id"]:
        wrong.append("model-metadata.json isn't the ledger's newest entry")
    if record.outputs.get("run_id") != (ledger[-1]["run_id"] if ledger else None):
        wrong.append("another run is Production")
    pull, _ = shop.pull(int(record.outputs.get("pull", "0")))
    if not pull or pull["state"] != "merged":
        wrong.append(f"the pull request is {pull and pull['state']}")
    if shop.branches():
        wrong.append(f"branches are left: {', '.join(shop.branches())}")
    if shop.cloud.status() is not CloudState.ABSENT:
        wrong.append("the instance runs")
    return wrong


ALL = (*STEPS, TRAINING)
