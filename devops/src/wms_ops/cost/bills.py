"""The cost of sessions: by run, by month, by model version, and beside an instance that is always on. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from wms_ops.cost.estimate import Cost, always_on
from wms_ops.cost.prices import PriceTable
from wms_ops.cost.sessions import Session, cost_of_session, month_name, month_start, next_month, parts_by_month


@dataclass(frozen=True)
class BillLine:
    """A line of a bill: `sessions` counts instances; an instance that lived in two months counts in both."""

    sessions: int = 0
    cost: Cost = field(default_factory=Cost)

    def __add__(self, other: BillLine) -> BillLine:
        return BillLine(self.sessions + other.sessions, self.cost + other.cost)


@dataclass(frozen=True)
class Saving:
    """The saving by instances that come and go: both costs are US dollars for the same `seconds` of the calendar.

    The always-on instance is of the type that ran longest, on demand, and idles where no session was.
    """

    seconds: float
    instance_type: str
    as_needed: float
    always_on: float

    @property
    def saved(self) -> float:
        """US dollars; negative where the sessions were dearer."""
        return self.always_on - self.as_needed


@dataclass(frozen=True)
class RunBill:
    """A run's own bill with its month so far, for the reviewer of its pull request."""

    kind: str
    cost: Cost
    month: str
    month_line: BillLine
    saving: Saving | None
    open: bool


def by_run(
    sessions: Iterable[Session], table: PriceTable, now: datetime, month: str | None = None
) -> dict[str, BillLine]:
    """Return each run's cost over its sessions, of `month` only if given; a session without a run has its launch id."""
    return _grouped(sessions, lambda session: session.run or session.github_run or session.launch_id, table, now, month)


def by_version(
    sessions: Iterable[Session], table: PriceTable, now: datetime, month: str | None = None
) -> dict[str, BillLine]:
    """Return each model version's cost; "none" for sessions that registered no model."""
    named = _grouped(sessions, lambda session: str(session.model_version or "none"), table, now, month)
    # Versions in numeric order, "none" last.
    return dict(sorted(named.items(), key=lambda item: (not item[0].isdecimal(), item[0].zfill(9))))


def by_month(sessions: Iterable[Session], table: PriceTable, now: datetime) -> dict[str, BillLine]:
    """Return each UTC month's cost, the oldest first; a session over a month's end is split."""
    lines: dict[str, BillLine] = {}
    for session in sessions:
        cost = cost_of_session(session, table, now)
        for month, share in parts_by_month(session, now):
            line = BillLine(1, cost.share(share))
            lines[month] = lines[month] + line if month in lines else line
    return dict(sorted(lines.items()))


def total_of(lines: Mapping[str, BillLine]) -> BillLine:
    """Return the sum of all lines."""
    return sum(lines.values(), BillLine())


def month_so_far(sessions: Iterable[Session], table: PriceTable, now: datetime) -> float:
    """Return the US dollars that this month's sessions have cost until `now`."""
    line = by_month(sessions, table, now).get(month_name(now))
    return line.cost.total if line else 0.0


def month_committed(sessions: Iterable[Session], table: PriceTable, now: datetime) -> float:
    """Return the most that this month's sessions can cost: those that aren't over count up to their deadlines.

    A session about to launch counts, too. Raises UsageError for a type or a region that the table lacks.
    """
    total = 0.0
    for session in sessions:
        # The most: on demand for the whole lifetime, all cores busy; a spot price may rise to that.
        running = session.ended_at is None and session.deadline > now
        assumed = session
        if running:
            started = session.started or session.begun_at
            assumed = session.changed(launched_at=started, spot=False, busy_seconds=None)
        line = by_month([assumed], table, session.deadline if running else now).get(month_name(now))
        total += line.cost.total if line else 0.0
    return total


def saving_of_month(sessions: Sequence[Session], table: PriceTable, now: datetime, month: str) -> Saving | None:
    """Return a month's saving, from its beginning or the first session's, if later, until its end or `now`.

    None where no session of the month was launched.
    """
    costs = ((session, cost_in(session, table, now, month)) for session in sessions)
    parts = [(session, cost) for session, cost in costs if cost is not None]
    if not parts:
        return None
    seconds: dict[tuple[str, str, float], float] = {}
    for session, cost in parts:
        kind = (session.region, session.instance_type, session.disk_gb)
        seconds[kind] = seconds.get(kind, 0.0) + cost.seconds
    region, instance_type, disk_gb = max(seconds, key=lambda kind: seconds[kind])
    begin = max(month_start(month), min(one.started for one in sessions if one.started is not None))
    period = max(0.0, (min(now, next_month(month_start(month))) - begin).total_seconds())
    idle = always_on(period, table.rates(region, instance_type), disk_gb=disk_gb)
    return Saving(period, instance_type, sum(cost.total for _, cost in parts), idle.total)


def bill_of_run(run: str, sessions: Sequence[Session], table: PriceTable, now: datetime) -> RunBill | None:
    """Return the bill of the loop's run `run`; None where no instance was launched for the run."""
    own = [one for one in sessions if one.run == run and one.started is not None]
    if not own:
        return None
    latest = max(own, key=lambda one: one.begun_at)
    kind = f"{latest.instance_type} {'spot' if latest.spot else 'on demand'} in {latest.region}"
    month = month_name(now)
    return RunBill(
        kind=kind,
        cost=sum((cost_of_session(one, table, now) for one in own), Cost()),
        month=month,
        month_line=by_month(sessions, table, now).get(month, BillLine()),
        saving=saving_of_month(sessions, table, now, month),
        open=any(one.ended_at is None and one.deadline > now for one in own),
    )


def cost_in(session: Session, table: PriceTable, now: datetime, month: str | None) -> Cost | None:
    """Return a session's cost in a month (None: in all its life); None if the session wasn't launched, or not then."""
    shares = [share for name, share in parts_by_month(session, now) if month in (None, name)]
    return cost_of_session(session, table, now).share(sum(shares)) if shares else None


def _grouped(
    sessions: Iterable[Session], key: Callable[[Session], str], table: PriceTable, now: datetime, month: str | None
) -> dict[str, BillLine]:
    lines: dict[str, BillLine] = {}
    for session in sorted(sessions, key=lambda one: one.begun_at):
        if (cost := cost_in(session, table, now, month)) is not None:
            name, line = key(session), BillLine(1, cost)
            lines[name] = lines[name] + line if name in lines else line
    return lines
