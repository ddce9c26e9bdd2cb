"""The budget: a check before any start, and the longest lifetime that an instance may have.

The budget counts the most that a run can cost: all vCPUs at full speed all the time, and on demand even for a spot
instance, whose price may rise to that of on demand. So a budget holds without supervision.
"""

from __future__ import annotations

import math
from typing import Final

from wms.errors import UsageError
from wms_ops.base.errors import BudgetError
from wms_ops.cost.estimate import Cost, cost_of, dollars
from wms_ops.cost.prices import DISK_GB, Rates

BUDGET: Final = "WMS_BUDGET_USD"
MONTH_BUDGET: Final = "WMS_BUDGET_MONTH_USD"

SHORTEST_MINUTES: Final = 5
"""The least lifetime that an instance is started for: a shorter life couldn't finish any work."""

LONGEST_MINUTES: Final = 2880
"""The longest lifetime of an instance, two days."""

MARGIN_MINUTES: Final = 3
"""Minutes that AWS bills beside the lifetime: the boot before the deadline is set, and the shutdown. An assumption."""


def check_budget(estimated: Cost, budget: float) -> None:
    """Raise BudgetError for a run that costs more than `budget` US dollars."""
    if estimated.total > budget:
        raise BudgetError(
            f"This run would cost about {dollars(estimated.total)} ({estimated.seconds / 60:.0f} minutes of an "
            f"instance), more than the {dollars(budget)} that {BUDGET} allows for one run; train with a shorter "
            f"recipe, or allow more, for example {BUDGET}={_enough(estimated.total)}."
        )


def check_month(committed_usd: float, most: Cost, budget: float | None, *, month: str) -> None:
    """Raise BudgetError for a session that could make the month cost more than `budget` US dollars; None is no limit.

    `committed_usd` is the cost of the month's sessions, running ones counted to their deadlines; `most` is the new
    session's whole lifetime; `month` is for the sentence, such as "November 2026".
    """
    together = committed_usd + most.total
    if budget is not None and together > budget:
        raise BudgetError(
            f"{month} has cost {dollars(committed_usd)} so far, and this session may cost up to {dollars(most.total)} "
            f"({most.seconds / 60:.0f} minutes): together more than the {dollars(budget)} that {MONTH_BUDGET} allows; "
            f"wait for the next month, choose a shorter lifetime, or allow more, for example "
            f"{MONTH_BUDGET}={_enough(together)}."
        )


def most_of(minutes: int, rates: Rates, *, disk_gb: float = DISK_GB) -> Cost:
    """Return the most that a session with a lifetime of `minutes` can cost, on demand or spot."""
    return cost_of((minutes + MARGIN_MINUTES) * 60, rates, disk_gb=disk_gb)


def affordable_minutes(budget_usd: float, rates: Rates, *, disk_gb: float = DISK_GB) -> int:
    """Return the longest lifetime in whole minutes whose `most_of` is within the budget; 0 where the budget buys none.

    Raises ValueError for a budget that is negative or no number.
    """
    if not budget_usd >= 0:
        raise ValueError(f"A budget can't be {budget_usd} US dollars.")
    minute = cost_of(60, rates, disk_gb=disk_gb).total
    minutes = int(min(budget_usd / minute, LONGEST_MINUTES + MARGIN_MINUTES)) - MARGIN_MINUTES
    # A rounding error may pass the budget.
    while minutes > 0 and most_of(minutes, rates, disk_gb=disk_gb).total > budget_usd:
        minutes -= 1
    return max(0, minutes)


def lifetime(requested_minutes: int, budget_usd: float, rates: Rates, *, disk_gb: float = DISK_GB) -> int:
    """Return the minutes after which an instance ends itself: those requested, or fewer where the budget buys no more.

    Raises UsageError for a request outside 5 to 2880 minutes, BudgetError where the budget buys less than 5.
    """
    if not SHORTEST_MINUTES <= requested_minutes <= LONGEST_MINUTES:
        raise UsageError(
            f"An instance can't live for {requested_minutes} minutes; give {SHORTEST_MINUTES} to {LONGEST_MINUTES}, "
            f"that is at most {LONGEST_MINUTES // 60} hours."
        )
    affordable = affordable_minutes(budget_usd, rates, disk_gb=disk_gb)
    if affordable < SHORTEST_MINUTES:
        least = most_of(SHORTEST_MINUTES, rates, disk_gb=disk_gb).total
        raise BudgetError(
            f"{dollars(budget_usd)} don't buy {SHORTEST_MINUTES} minutes of a {rates.instance_type}, which may cost "
            f"{dollars(least)} with its start and its end; choose a smaller type, or allow more, for example "
            f"{BUDGET}={_enough(least)}."
        )
    return min(requested_minutes, affordable)


def _enough(usd: float) -> str:
    """Return the next tenth of a dollar."""
    return f"{math.ceil(10 * usd) / 10:.2f}"
