"""All sessions' cost, put together for people and for programs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from wms_ops.cost.bills import BillLine, Saving, by_month, by_run, by_version, saving_of_month, total_of
from wms_ops.cost.estimate import Cost
from wms_ops.cost.prices import PriceTable
from wms_ops.cost.sessions import Session


@dataclass(frozen=True)
class Statement:
    """The cost of an environment until `now`, of a single month if `month` is given.

    `running` are sessions that aren't over. `stored_gb` is by bucket, None where CloudWatch couldn't be asked; the
    price of storage isn't part of any sum.
    """

    environment: str
    region: str
    now: datetime
    month: str | None
    runs: Mapping[str, BillLine]
    months: Mapping[str, BillLine]
    versions: Mapping[str, BillLine]
    savings: Mapping[str, Saving]
    running: int
    stored_gb: Mapping[str, float] | None
    storage_usd_month: float | None
    prices_of: str

    @property
    def total(self) -> BillLine:
        """The sum of all runs."""
        return total_of(self.runs)

    @property
    def saved(self) -> float:
        """US dollars that coming and going has saved, over all shown months."""
        return sum(saving.saved for saving in self.savings.values())

    def as_json(self) -> dict[str, Any]:
        """Return the statement in plain values; amounts are US dollars."""
        return {
            "environment": self.environment,
            "region": self.region,
            "until": self.now.isoformat(timespec="seconds"),
            "month": self.month,
            "prices_of": self.prices_of,
            "running": self.running,
            "runs": [{"run": name, **_plain(line)} for name, line in self.runs.items()],
            "months": [
                {"month": name, **_plain(line), **_saving(self.savings.get(name))} for name, line in self.months.items()
            ],
            "model_versions": [{"version": name, **_plain(line)} for name, line in self.versions.items()],
            "total": _plain(self.total),
            "saved_usd": round(self.saved, 6),
            "storage": {
                "gb": None if self.stored_gb is None else {name: round(gb, 3) for name, gb in self.stored_gb.items()},
                "usd_a_month": self.storage_usd_month,
            },
        }


def statement_of(
    sessions: Sequence[Session],
    table: PriceTable,
    *,
    environment: str,
    region: str,
    now: datetime,
    month: str | None = None,
    stored_gb: Mapping[str, float] | None = None,
) -> Statement:
    """Return the statement. Raises UsageError for a type or a region that the price table lacks."""
    months = {name: line for name, line in by_month(sessions, table, now).items() if month in (None, name)}
    savings = {name: saving_of_month(sessions, table, now, name) for name in months}
    storage = None if stored_gb is None else sum(stored_gb.values()) * table.rates(region).storage_gb_month
    return Statement(
        environment=environment,
        region=region,
        now=now,
        month=month,
        runs=by_run(sessions, table, now, month),
        months=months,
        versions=by_version(sessions, table, now, month),
        savings={name: saving for name, saving in savings.items() if saving is not None},
        running=sum(one.started is not None and one.ended_at is None and one.deadline > now for one in sessions),
        stored_gb=stored_gb,
        storage_usd_month=storage,
        prices_of=str(table.as_of),
    )


def _plain(line: BillLine) -> dict[str, float | int]:
    cost: Cost = line.cost
    parts = {"instance": cost.instance, "surplus": cost.surplus, "disk": cost.disk, "address": cost.address}
    return {
        "sessions": line.sessions,
        "minutes": round(cost.seconds / 60, 2),
        **{f"{name}_usd": round(value, 6) for name, value in parts.items()},
        "usd": round(cost.total, 6),
    }


def _saving(saving: Saving | None) -> dict[str, float | str]:
    if saving is None:
        return {}
    return {
        "always_on_type": saving.instance_type,
        "always_on_hours": round(saving.seconds / 3600, 2),
        "always_on_usd": round(saving.always_on, 6),
        "saved_usd": round(saving.saved, 6),
    }
