"""The record of an instance's life, from before its launch to its end: frozen values and what follows from them. Pure.

A record is written before any launch, so that the bill knows of every instance.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from wms.records import StoredRecord
from wms_ops.cost.estimate import Cost, cost_of
from wms_ops.cost.prices import Choice, PriceTable

NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$"
"""The pattern of environments and launch ids, which become parts of a key."""

_YEARS: Final = (2000, 2200)


def _in_utc(moment: datetime) -> datetime:
    """The moment in UTC. Raises ValueError for one that no program has written: nobody can add to the last year."""
    if not _YEARS[0] <= moment.year < _YEARS[1]:
        raise ValueError(f"the year {moment.year} is none of {_YEARS[0]} to {_YEARS[1] - 1}")
    return moment.astimezone(UTC)


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A time with its zone, kept in UTC."""


class Purpose(StrEnum):
    """The reason why an instance was started."""

    PIPELINE = "pipeline"
    MANUAL = "manual"


class EndedBy(StrEnum):
    """The cause of an instance's end; `unknown`: the instance was found gone before its deadline."""

    DOWN = "down"
    DEADLINE = "deadline"
    IDLE = "idle"
    REAPER = "reaper"
    UNKNOWN = "unknown"


class Session(StoredRecord):
    """An instance's life. `begun_at` is before the launch, `launched_at` after, `last_seen_at` the latest answer.

    `run` is the loop's run id, `github_run` the workflow's, `model_version` the version that the run registered.
    `busy_seconds`, if known, is how long all cores computed; else a bill counts the whole life, the upper bound.
    """

    launch_id: str = Field(pattern=NAME)
    environment: str = Field(pattern=NAME)
    region: str = Field(min_length=1)
    instance_type: str = Field(min_length=1)
    spot: bool = False
    disk_gb: float = Field(gt=0, le=65536)
    owner: str = ""
    purpose: Purpose
    run: str = ""
    github_run: str = ""
    model_version: int | None = None
    begun_at: Moment
    deadline: Moment
    launched_at: Moment | None = None
    last_seen_at: Moment | None = None
    ended_at: Moment | None = None
    ended_by: EndedBy | None = None
    busy_seconds: float | None = Field(default=None, ge=0, le=1e8)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.deadline <= self.begun_at:
            raise ValueError("the deadline must lie after the beginning")
        if (self.ended_at is None) != (self.ended_by is None):
            raise ValueError("ended_at and ended_by come together")
        return self

    @property
    def started(self) -> datetime | None:
        """The moment from which the instance costs money; None without a proof of its launch.

        A process may be killed between the launch and the note about the launch: then a later sign of life or the kind
        of end proves the launch.
        """
        if self.launched_at is not None:
            return self.launched_at
        proven = self.last_seen_at is not None or self.ended_by in (EndedBy.DEADLINE, EndedBy.IDLE, EndedBy.REAPER)
        return self.begun_at if proven else None

    def launched(self, at: datetime) -> Session:
        """Return the session as launched; a launch on record stays."""
        return self if self.launched_at is not None else self.changed(launched_at=at)

    def seen(self, at: datetime) -> Session:
        """Return the session as having answered at `at`."""
        newer = self.last_seen_at is None or at > self.last_seen_at
        return self.changed(last_seen_at=at) if newer and self.ended_at is None else self

    def ended(self, at: datetime, by: EndedBy) -> Session:
        """Return the session as ended; the first end on record stays, so that several processes may note an end."""
        return self if self.ended_at is not None else self.changed(ended_at=at, ended_by=by)

    def found_gone(self, now: datetime) -> Session:
        """Return the session as ended, for a caller that finds no instance: by its deadline if that is over."""
        over = now >= self.deadline
        return self.ended(self.deadline if over else now, EndedBy.DEADLINE if over else EndedBy.UNKNOWN)


def begin(
    choice: Choice, *, launch_id: str, environment: str, now: datetime, purpose: Purpose, owner: str = "",
    run: str = "", github_run: str = "",
) -> Session:  # fmt: skip
    """Return the record to be written before a launch; its deadline is the choice's lifetime after `now`."""
    return Session(
        launch_id=launch_id,
        environment=environment,
        region=choice.region,
        instance_type=choice.instance_type,
        spot=choice.spot,
        disk_gb=choice.disk_gb,
        owner=owner,
        purpose=purpose,
        run=run,
        github_run=github_run,
        begun_at=now,
        deadline=now + timedelta(minutes=choice.minutes),
    )


def end_of(session: Session, now: datetime) -> datetime:
    """Return the session's end or, while the session runs, `now`; without an end on record the deadline is the end."""
    return session.ended_at if session.ended_at is not None else min(now, session.deadline)


def seconds_of(session: Session, now: datetime) -> float:
    """Return the seconds that cost money until `now`; 0 for a session without a launch."""
    started = session.started
    return 0.0 if started is None else max(0.0, (end_of(session, now) - started).total_seconds())


def cost_of_session(session: Session, table: PriceTable, now: datetime) -> Cost:
    """Return the session's cost until `now`. Raises UsageError for a type or a region that the table lacks."""
    if session.started is None:
        return Cost()
    return cost_of(
        seconds_of(session, now),
        table.rates(session.region, session.instance_type),
        spot=session.spot,
        busy_seconds=session.busy_seconds,
        disk_gb=session.disk_gb,
    )


def month_name(moment: datetime) -> str:
    """Return the UTC month, such as 2026-11."""
    return f"{moment.astimezone(UTC):%Y-%m}"


def month_start(month: str) -> datetime:
    """Return the moment at which a month such as 2026-11 begins, in UTC. Raises ValueError for another text."""
    return datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)


def next_month(start: datetime) -> datetime:
    """Return the beginning of the month after that of `start`."""
    # 32 days after a first of the month lie in the next month, whatever its length.
    return (start.replace(day=1) + timedelta(days=32)).replace(day=1)


def parts_by_month(session: Session, now: datetime) -> Iterator[tuple[str, float]]:
    """Yield the UTC months of a session's life, each with its share of the whole; the shares sum to 1.

    A session without a launch has no part.
    """
    if session.started is None:
        return
    whole = seconds_of(session, now)
    at, end = session.started, session.started + timedelta(seconds=whole)
    if not whole:
        yield month_name(at), 1.0
    while at < end:
        until = min(end, next_month(month_start(month_name(at))))
        yield month_name(at), (until - at).total_seconds() / whole
        at = until
