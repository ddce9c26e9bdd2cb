"""Sessions for tests of bills."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from wms_ops.cost.sessions import Purpose, Session

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
_numbers = itertools.count(1)


def session(*, begun: datetime = NOW, minutes: float = 120, launched: float | None = 0, **values: Any) -> Session:
    """A session begun at `begun` and launched that many seconds later."""
    known: dict[str, Any] = {
        "launch_id": f"{begun:%Y%m%d-%H%M%S}-{next(_numbers):06x}",
        "environment": "main",
        "region": "us-east-1",
        "instance_type": "t3.large",
        "disk_gb": 30,
        "owner": "ana@laptop",
        "purpose": Purpose.PIPELINE,
        "begun_at": begun,
        "deadline": begun + timedelta(minutes=minutes),
        "launched_at": None if launched is None else begun + timedelta(seconds=launched),
    }
    return Session.model_validate({**known, **values})
