"""The loop in parts, each a job of a workflow on a machine of its own: what is done already is never done again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import takewhile
from typing import Final

from wms_ops.base.errors import PipelineError
from wms_ops.base.layout import main_branch
from wms_ops.base.signals import stoppable
from wms_ops.dataset.review import only_joined
from wms_ops.git.command import Git
from wms_ops.loop.console import ConsoleTeller
from wms_ops.loop.context import RunContext
from wms_ops.loop.drafts import open_draft, without_closed
from wms_ops.loop.driver import carry_on, conclude
from wms_ops.loop.shared_runs import SharedRunStore
from wms_ops.loop.waiting import join_waiting
from wms_ops.loop.workspace import tip
from wms_ops.runs.plan import TELLING, broken_off, failed_step, next_step, reopened_in, skip_pointless
from wms_ops.runs.record import RunOutcome, RunRecord, StepState

DATA: Final = "data"
TELL: Final = "tell"
PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    DATA: ("merge", "validate", "budget"),
    "train": ("up", "train", "gate"),
    "release": ("up", "promote", "smoke-deploy", "metadata"),
    TELL: TELLING,
}
"""The steps of each part. `wms cloud down` stands between the last two, in a job that needs nothing of the others."""


def run_part(
    make_context: Callable[[RunRecord], RunContext],
    store: SharedRunStore,
    record: RunRecord,
    part: str,
    teller: ConsoleTeller,
) -> RunRecord:
    """Carry out those steps of a part that are to be done, and return the record.

    A failed step of this part is tried again, as in a job that GitHub runs a second time. After the part `data` the
    pull request is a draft, which a person may close before `release`; `tell` gives the run its outcome. A step's own
    failure is in the record; raised are errors that make a part impossible.
    """
    names = PARTS[part]
    if record.outcome not in (RunOutcome.RUNNING, RunOutcome.FAILED) and part != TELL:
        return record
    record = skip_pointless(broken_off(record) if part == TELL else record)
    record = reopened_in(record, names)
    store.save(record)
    require_earlier(record, part)
    context = make_context(record)
    # An attempt after a failure begins with `up`, not with the promotion.
    if part == "release" and failed_step(record) is None and record.step("promote").state is StepState.WAITING:
        record = without_closed(context, record, teller.line)
    with stoppable() as check:
        if "up" in names[:1] and _wants_instance(record, names) and context.cloud.endpoints() is None:
            record = _carried(context, store, record, "up", teller)
        while (name := next_step(record := skip_pointless(record))) in names and name is not None:
            check()
            record = _carried(context, store, record, name, teller)
    if part == DATA:
        record = open_draft(context, record, teller.line)
    store.save(record)
    if part == TELL:
        record = conclude(store, record)
        store.keep(record)
        if record.outcome is RunOutcome.MERGED:
            join_waiting(context, teller.line)
    return record


def now_at(git: Git, branch: str, commit: str) -> str | None:
    """Return the origin's commit of a branch, or `commit` where main was only joined into it since; None without any.

    `git` is a clone that has fetched. Raises GitError.
    """
    now, main = tip(git, branch), tip(git, main_branch())
    return commit if now and main and only_joined(git, main, commit, now) else now


def require_earlier(record: RunRecord, part: str) -> None:
    """Raise PipelineError if a step of an earlier part is still to be done: this part would do nothing, and succeed.

    Of a run in which a step has failed a part does nothing, and the last one reports what is there.
    """
    if part == TELL or failed_step(record) is not None:
        return
    for other in takewhile(lambda one: one != part, PARTS):
        for name in PARTS[other]:
            if name not in PARTS[part] and record.step(name).state in (StepState.WAITING, StepState.RUNNING):
                raise PipelineError(
                    f"The step {name} of this run isn't done, so there is nothing to do for the part {part} yet; run "
                    f"`wms loop part {other}` first."
                )


def _wants_instance(record: RunRecord, names: tuple[str, ...]) -> bool:
    """Whether a step of the part is to be done after `up`, which an earlier job has done."""
    return next_step(record) in names[1:]


def _carried(
    context: RunContext, store: SharedRunStore, record: RunRecord, name: str, teller: ConsoleTeller
) -> RunRecord:
    record = carry_on(context, store, record, name, teller)
    store.keep(record)
    return record
