"""The cost of a run of the loop while it goes on, for its report and for the model card."""

from __future__ import annotations

from datetime import UTC, datetime

from wms.errors import WmsError
from wms_ops.cost.bills import RunBill, bill_of_run
from wms_ops.cost.prices import price_table
from wms_ops.cost.sessions import month_name, month_start
from wms_ops.loop.context import RunContext


def bill_so_far(context: RunContext) -> RunBill | None:
    """The cost of the run's instance so far, if AWS bills it; an unreachable store only omits the cost."""
    if not context.cloud.billed:
        return None
    now = datetime.now(UTC)
    try:
        return bill_of_run(context.run_id, context.cloud.sessions(month_start(month_name(now))), price_table(), now)
    except WmsError as error:
        context.show(f"warning: the report lacks what the run has cost. {error}")
        return None
