"""A part of a restore: first the plan, which changes nothing, then the work, and what was lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from wms.errors import WmsError

Show = Callable[[str], None]


@dataclass
class Outcome:
    """What a part has restored and what it couldn't, in whole sentences; `fault` as in a plan."""

    restored: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    fault: WmsError | None = None


@dataclass(frozen=True)
class Plan:
    """What a part would do, in whole sentences, and the function that does it; no sentence: nothing is to be done.

    `lost` are losses that are known before anything is done, `notes` facts that a reader should know. `fault` is the
    error with which the command ends in any case, since what others rely on is lost.
    """

    part: str
    todo: Sequence[str]
    work: Callable[[Show], Outcome]
    lost: Sequence[str] = ()
    notes: Sequence[str] = ()
    fault: WmsError | None = None


def show_plan(plans: Sequence[Plan], show: Show) -> bool:
    """Show what is to be done; returns whether there is anything."""
    for plan in plans:
        for text in plan.todo:
            show(f"{plan.part}: {text}")
        for text in (*plan.notes, *plan.lost):
            show(f"{plan.part}: {text}")
    return any(plan.todo for plan in plans)


def carry_out(plans: Sequence[Plan], show: Show) -> WmsError | None:
    """Do all parts in their order, show what came back, what is lost at most, the seconds; returns the first fault."""
    started = time.monotonic()
    restored: list[str] = []
    lost: list[str] = []
    faults: list[WmsError | None] = []
    for plan in plans:
        begun = time.monotonic()
        done = plan.work(show) if plan.todo else Outcome()
        lost += [f"{plan.part}: {text}" for text in (*plan.lost, *done.lost)]
        faults += [plan.fault, done.fault]
        if plan.todo:
            seconds = time.monotonic() - begun
            restored += [f"{plan.part}: {text}" for text in done.restored]
            show(f"{plan.part}: done in {seconds:.1f} s.")
    for text in restored:
        show(f"Restored. {text}")
    for text in lost:
        show(f"Lost. {text}")
    if not lost:
        show("Lost. Nothing that this command looks at.")
    show(f"The restore took {time.monotonic() - started:.1f} s.")
    return next((fault for fault in faults if fault), None)
