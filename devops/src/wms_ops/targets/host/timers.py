"""When an instance ends by itself: a pure decision."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class LifeDecision(StrEnum):
    """Whether the instance goes on, or why it ends."""

    GO_ON = "go on"
    DEADLINE = "deadline"
    IDLE = "idle"


@dataclass(frozen=True)
class LifeLimits:
    """`deadline` in seconds since 1970; `margin_s` is kept before it; `idle_s` 0 means that idleness ends nothing."""

    deadline: float
    margin_s: float
    idle_s: float


def decide(limits: LifeLimits, *, now: float, last_used: float, jobs: int) -> LifeDecision:
    """Decide from the time of the last request or job, or of the start (`last_used`), and the number of running jobs.

    >>> decide(LifeLimits(deadline=1000.0, margin_s=240.0, idle_s=60.0), now=500.0, last_used=400.0, jobs=0)
    <LifeDecision.IDLE: 'idle'>
    """
    if now >= limits.deadline - limits.margin_s:
        return LifeDecision.DEADLINE
    if limits.idle_s > 0 and jobs == 0 and now - last_used >= limits.idle_s:
        return LifeDecision.IDLE
    return LifeDecision.GO_ON
