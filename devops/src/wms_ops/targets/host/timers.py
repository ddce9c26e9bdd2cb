"""When an instance ends by itself: a pure decision."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class LifeDecision(StrEnum):
    """What to do now."""

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
    """`last_used`: when a request or a job was last seen, or the start; `jobs`: how many are running."""
    if now >= limits.deadline - limits.margin_s:
        return LifeDecision.DEADLINE
    if limits.idle_s > 0 and jobs == 0 and now - last_used >= limits.idle_s:
        return LifeDecision.IDLE
    return LifeDecision.GO_ON
