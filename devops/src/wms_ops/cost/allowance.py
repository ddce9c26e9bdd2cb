"""The next instance's lifetime, by both budgets and the month's cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from wms_ops.base.settings import BudgetSettings
from wms_ops.cost.bills import month_committed
from wms_ops.cost.budget import check_month, lifetime, most_of
from wms_ops.cost.prices import Choice, price_table
from wms_ops.cost.sessions import Session, month_name, month_start


def allowed_minutes(
    choice: Choice, sessions: Callable[[datetime], Sequence[Session]], environ: Mapping[str, str], now: datetime
) -> int:
    """Return the chosen minutes, or fewer where WMS_BUDGET_USD buys no more.

    `sessions` returns the sessions that weren't over at a moment, and is called only where a month is limited. Raises
    BudgetError where the budget buys next to none, or where WMS_BUDGET_MONTH_USD might be passed; UsageError.
    """
    rates, budgets = choice.rates(), BudgetSettings.read(environ)
    minutes = lifetime(choice.minutes, budgets.wms_budget_usd, rates, disk_gb=choice.disk_gb)
    if (allowed := budgets.wms_budget_month_usd) is not None:
        committed = month_committed(sessions(month_start(month_name(now))), price_table(), now)
        check_month(committed, most_of(minutes, rates, disk_gb=choice.disk_gb), allowed, month=f"{now:%B %Y}")
    return minutes
