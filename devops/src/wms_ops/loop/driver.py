"""Runs the loop on a laptop: the steps in order, and at the end the instance is gone in any case."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from wms.errors import WmsError
from wms.files import exclusive_lock
from wms.interrupt import hear_ctrl_c
from wms_ops.base.errors import BusyError
from wms_ops.base.outputs import github_run
from wms_ops.base.signals import stoppable, unstoppable
from wms_ops.dataset.review import adds_records_only
from wms_ops.loop.console import ConsoleTeller, verdict
from wms_ops.loop.context import RunContext
from wms_ops.loop.steps import carry_out
from wms_ops.loop.workspace import fetch, tip
from wms_ops.report.notice import Notice, check_way, tell
from wms_ops.runs.plan import LAST, ended, next_step, reopened, skip_pointless, undecided, warning
from wms_ops.runs.record import STEPS, RunOutcome, RunRecord
from wms_ops.runs.store import RunStore

LOCK = ".loop.lock"


def run_loop(
    make_context: Callable[[RunRecord], RunContext],
    store: RunStore,
    branch: str,
    teller: ConsoleTeller,
    *,
    keep_up: bool = False,
) -> RunRecord:
    """Bring a data branch through the loop, or continue the branch's interrupted run; returns the record.

    `make_context` makes a run's context. `keep_up` leaves the instance up. A step's own failure is in the record;
    raised are BusyError, KeyboardInterrupt, and errors that make a run impossible before its beginning.

    >>> make = context_factory(folder, origin_of(ROOT), cloud)  # doctest: +SKIP
    >>> run_loop(make, run_store(folder), "data/20261121-103000", ConsoleTeller()).outcome  # doctest: +SKIP
    <RunOutcome.MERGED: 'merged'>
    """
    check_way()
    with one_at_a_time(store.folder):
        record, context = _begin(make_context, store, branch)
        if record.outcome is not RunOutcome.RUNNING:
            return record
        if text := warning(record):
            teller.line(f"warning: {text}")
        with stoppable() as check:
            try:
                record = _steps(context, store, record, teller, check)
            finally:
                if not keep_up:
                    # The teardown must not be interrupted: a second Ctrl-C would leave an instance that costs money.
                    with unstoppable(teller.line):
                        record = carry_on(context, store, store.load(record.id), LAST, teller)
        return conclude(store, record)


def conclude(store: RunStore, record: RunRecord) -> RunRecord:
    """Give a run its outcome, store it, and tell a person of a blocked or failed one; returns the record."""
    record = ended(record)
    store.save(record)
    if record.outcome in (RunOutcome.BLOCKED, RunOutcome.FAILED):
        tell(Notice(f"{record.branch}: {record.outcome}", verdict(record), github_run()))
    return record


def _begin(
    make_context: Callable[[RunRecord], RunContext], store: RunStore, branch: str
) -> tuple[RunRecord, RunContext]:
    """Reopen the branch's interrupted run if the branch is unchanged since; else begin a new run."""
    before = store.newest(branch)
    if before is not None:
        context = make_context(before)
        fetch(context.git)
        now = tip(context.git, before.outputs.get("branch", branch))
        if now is None and before.outcome is RunOutcome.MERGED:
            return before, context  # the branch went with its merge
        # The run's own steps move the branch, so each of their commits counts as unchanged.
        known = now in {step.outputs.get("commit") for step in before.steps}
        left = before.outputs.get("commit")
        if now is None or known or not left or adds_records_only(context.git, left, now):
            if before.outcome not in (RunOutcome.RUNNING, RunOutcome.FAILED) and not undecided(before):
                return before, context
            record = reopened(before)
            store.save(record)
            return record, context
    record = store.create(branch)
    return record, make_context(record)


def _steps(
    context: RunContext, store: RunStore, record: RunRecord, teller: ConsoleTeller, check: Callable[[], None]
) -> RunRecord:
    while (name := next_step(record := skip_pointless(record))) is not None:
        check()
        record = carry_on(context, store, record, name, teller)
    store.save(record)
    return record


def carry_on(context: RunContext, store: RunStore, record: RunRecord, name: str, teller: ConsoleTeller) -> RunRecord:
    """Carry out a step; a failure is only recorded, so that the loop can report it and tear down."""
    hear_ctrl_c()  # a library of an earlier step may have taken it away
    teller.begins(name, STEPS.index(name) + 1)
    with contextlib.suppress(WmsError):
        carry_out(context, store, record, name)
    record = store.load(record.id)
    teller.over(record, name)
    return record


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. Raises BusyError if another process holds the lock."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(exclusive_lock(folder / LOCK, wait=False))
        except BlockingIOError as error:
            raise BusyError(
                f"Another run is at work in {folder}; wait for its end, or choose another folder."
            ) from error
        yield
