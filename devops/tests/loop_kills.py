"""SIGKILL at a step of the loop, a second run, and a look at whether all is as without the kill."""

from __future__ import annotations

import time
from dataclasses import dataclass

from loop_shop import LoopShop

from wms_ops.cloud.protocol import CloudState
from wms_ops.errors import PipelineError
from wms_ops.pipeline.record import STEPS, Outcome, RunRecord, StepState

LIMIT_S = 240.0


@dataclass(frozen=True)
class Kill:
    """What became of a loop that was killed at `step`; `wrong` lists what isn't as it should be."""

    step: str
    killed: bool
    seconds: float
    wrong: tuple[str, ...]


def kill_and_repeat(shop: LoopShop, step: str, photos: int = 6) -> Kill:
    """Push new photos, start the loop, SIGKILL it as soon as `step` runs, start it again, and look."""
    shop.shell("git", "pull", "--quiet")
    before = shop.ledger()
    count = len(shop.data().pairs)
    shop.commit_photos(photos)
    branch = shop.push()
    killed = start_and_kill(shop, branch, step)
    started = time.monotonic()
    said = shop.run(branch, expect=None)
    seconds = time.monotonic() - started
    return Kill(step, killed, seconds, tuple(look(shop, branch, before, count + photos, said)))


def start_and_kill(shop: LoopShop, branch: str, step: str) -> bool:
    """Whether the loop was still at that step when it died."""
    process = shop.start(branch)
    deadline = time.monotonic() + LIMIT_S
    try:
        while time.monotonic() < deadline and process.poll() is None:
            record = newest(shop, branch)
            if record is not None and record.step(step).state is StepState.RUNNING:
                process.kill()
                process.wait()
                now = newest(shop, branch)
                return now is not None and now.step(step).state is StepState.RUNNING
            time.sleep(0.005)  # a poll's pause
    finally:
        process.kill()
        process.wait()
    return False


def newest(shop: LoopShop, branch: str) -> RunRecord | None:
    try:
        return shop.record(branch)
    except (AssertionError, PipelineError):
        return None


def look(shop: LoopShop, branch: str, before: list[dict[str, object]], photos: int, said: str) -> list[str]:
    """What differs from a loop that nobody disturbed."""
    wrong = []
    record = shop.record(branch)
    if record.outcome is not Outcome.MERGED:
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


ALL = STEPS
