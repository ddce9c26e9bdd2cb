"""Sessions and their bills, by hand-made sums and over any month's end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cost_values import NOW, session
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from wms_ops.cost.bills import (
    bill_of_run,
    by_month,
    by_run,
    by_version,
    month_committed,
    month_so_far,
    saving_of_month,
    total_of,
)
from wms_ops.cost.estimate import HOURS_A_MONTH, Cost, always_on, cost_of
from wms_ops.cost.prices import Choice, price_table
from wms_ops.cost.sessions import (
    EndedBy,
    Purpose,
    Session,
    begin,
    cost_of_session,
    month_name,
    month_start,
    next_month,
    parts_by_month,
    seconds_of,
)

TABLE = price_table()
HOUR = timedelta(hours=1)
moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))


@st.composite
def lives(draw: st.DrawFn) -> Session:
    """Any life that an instance can have."""
    begun = draw(moments)
    minutes = draw(st.integers(5, 2880))
    one = session(begun=begun, minutes=minutes, launched=None)
    if draw(st.booleans()):
        one = one.launched(begun + timedelta(seconds=draw(st.floats(0, 300))))
    if draw(st.booleans()):
        one = one.ended(begun + timedelta(minutes=draw(st.floats(0, 3000))), draw(st.sampled_from(EndedBy)))
    return one


# One session


def test_a_record_is_begun_before_the_launch() -> None:
    choice = Choice(region="eu-west-1", instance_type="m6i.large", spot=True, disk_gb=50, minutes=90)
    one = begin(choice, launch_id="20261125-120000-ab12cd", environment="main", now=NOW, purpose=Purpose.MANUAL)
    assert one.deadline == NOW + timedelta(minutes=90)
    assert (one.instance_type, one.region, one.spot, one.disk_gb) == ("m6i.large", "eu-west-1", True, 50)
    assert one.started is None
    assert seconds_of(one, NOW + HOUR) == 0
    assert cost_of_session(one, TABLE, NOW + HOUR) == Cost()
    assert list(parts_by_month(one, NOW + HOUR)) == []


def test_a_session_costs_from_its_launch_to_its_end() -> None:
    one = session(begun=NOW, launched=60).ended(NOW + HOUR, EndedBy.DOWN)
    assert seconds_of(one, NOW + 9 * HOUR) == 3540
    assert cost_of_session(one, TABLE, NOW + 9 * HOUR) == cost_of(3540, TABLE.rates("us-east-1"))
    assert seconds_of(session(begun=NOW, launched=60), NOW + HOUR / 2) == 1740


def test_a_session_without_an_end_is_over_at_its_deadline() -> None:
    one = session(begun=NOW, minutes=120, launched=0)
    assert seconds_of(one, NOW + 500 * HOUR) == 7200
    gone = one.found_gone(NOW + 500 * HOUR)
    assert (gone.ended_at, gone.ended_by) == (one.deadline, EndedBy.DEADLINE)
    early = one.found_gone(NOW + HOUR)
    assert (early.ended_at, early.ended_by) == (NOW + HOUR, EndedBy.UNKNOWN)


def test_an_instance_that_outlived_its_deadline_costs_until_somebody_ended_it() -> None:
    one = session(begun=NOW, minutes=60, launched=0).ended(NOW + 3 * HOUR, EndedBy.REAPER)
    assert seconds_of(one, NOW + 9 * HOUR) == 3 * 3600


@pytest.mark.parametrize("by", EndedBy)
def test_a_launch_that_was_never_noted_is_proven_by_what_ended_it(by: EndedBy) -> None:
    """The process was killed between the launch and the note of it."""
    one = session(begun=NOW, launched=None).ended(NOW + HOUR, by)
    proven = by in (EndedBy.DEADLINE, EndedBy.IDLE, EndedBy.REAPER)
    assert seconds_of(one, NOW + HOUR) == (3600 if proven else 0)
    assert seconds_of(session(begun=NOW, launched=None).seen(NOW + HOUR / 4), NOW + HOUR) == 3600


def test_what_is_on_record_first_stays() -> None:
    one = session(begun=NOW, launched=5)
    assert one.launched(NOW + HOUR) == one
    seen = one.seen(NOW + HOUR)
    assert seen.seen(NOW + HOUR / 2) == seen
    over = seen.ended(NOW + HOUR, EndedBy.IDLE)
    assert over.ended(NOW + 2 * HOUR, EndedBy.DOWN) == over == over.seen(NOW + 2 * HOUR)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"deadline": NOW}, "the deadline must lie after the beginning"),
        ({"ended_at": NOW}, "come together"),
        ({"ended_by": "down"}, "come together"),
        ({"begun_at": datetime(2026, 11, 25, 12)}, "timezone"),
        ({"launch_id": "../main/x"}, "pattern"),
        ({"environment": "a/b"}, "pattern"),
        ({"disk_gb": -1}, "greater than 0"),
        ({"disk_gb": 1e308}, "less than or equal to 65536"),
        ({"busy_seconds": 1e308}, "less than or equal to"),
        ({"deadline": "9999-12-31T23:59:59+00:00"}, "the year 9999 is none of 2000 to 2199"),
        ({"deadline": "9999-12-31T23:59:59-14:00"}, "the year 9999 is none of"),
        ({"launched_at": "0001-01-01T00:00:00+14:00"}, "the year 1 is none of"),
        ({"ended_at": "9999-12-31T00:00:00Z", "ended_by": "down"}, "the year 9999 is none of"),
    ],
)
@pytest.mark.attack(
    "someone who may write the state's bucket",
    "a session of the year 9999, or of 1e308 GB",
    "a record that no program wrote is named as damaged",
)
def test_impossible_records_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        session(begun=NOW).changed(**wrong)


@given(lives())
def test_a_record_survives_its_text(one: Session) -> None:
    assert Session.model_validate_json(one.model_dump_json()) == one


def test_times_are_kept_in_utc() -> None:
    there = NOW.astimezone(datetime.strptime("+0900", "%z").tzinfo)
    one = session(begun=NOW)
    assert one.changed(begun_at=there) == one
    assert '"begun_at":"2026-11-25T12:00:00Z"' in one.changed(begun_at=there).model_dump_json()


# Months


def test_months_in_utc() -> None:
    assert month_start("2026-12") == datetime(2026, 12, 1, tzinfo=UTC)
    assert next_month(month_start("2026-12")) == datetime(2027, 1, 1, tzinfo=UTC)
    late = datetime(2026, 12, 1, 3, tzinfo=datetime.strptime("+0900", "%z").tzinfo)
    assert month_name(late) == "2026-11"
    with pytest.raises(ValueError, match="does not match"):
        month_start("2026")


def test_a_session_over_a_months_end_is_split() -> None:
    one = session(begun=datetime(2026, 11, 30, 23, tzinfo=UTC), minutes=240, launched=0)
    one = one.ended(datetime(2026, 12, 1, 2, tzinfo=UTC), EndedBy.DOWN)
    lines = by_month([one], TABLE, NOW + 500 * HOUR)
    assert list(lines) == ["2026-11", "2026-12"]
    assert [line.cost.seconds for line in lines.values()] == [3600, 7200]
    assert [line.sessions for line in lines.values()] == [1, 1]


@given(one=lives(), later=st.timedeltas(timedelta(0), timedelta(days=70)))
def test_the_months_of_a_session_cost_together_what_it_costs(one: Session, later: timedelta) -> None:
    now = one.begun_at + later
    parts = list(parts_by_month(one, now))
    whole = cost_of_session(one, TABLE, now)
    assert sum(share for _, share in parts) == pytest.approx(1.0 if one.started else 0.0)
    assert total_of(by_month([one], TABLE, now)).cost.total == pytest.approx(whole.total)
    assert sorted(name for name, _ in parts) == [name for name, _ in parts]


@given(st.lists(lives(), max_size=6))
def test_every_grouping_has_the_same_total(many: list[Session]) -> None:
    now = datetime(2028, 6, 1, tzinfo=UTC)
    whole = sum(cost_of_session(one, TABLE, now).total for one in many)
    for lines in (by_run(many, TABLE, now), by_month(many, TABLE, now), by_version(many, TABLE, now)):
        assert total_of(lines).cost.total == pytest.approx(whole)
    months = by_month(many, TABLE, now)
    for month, line in months.items():
        assert total_of(by_run(many, TABLE, now, month)).cost.total == pytest.approx(line.cost.total)


def test_runs_and_versions_are_told_apart() -> None:
    many = [
        session(begun=NOW, launched=0, run="r1", model_version=10).ended(NOW + HOUR, EndedBy.DOWN),
        session(begun=NOW + HOUR, launched=0, run="r1", model_version=10).ended(NOW + 2 * HOUR, EndedBy.DOWN),
        session(begun=NOW, launched=0, run="r2", model_version=9).ended(NOW + HOUR, EndedBy.DOWN),
        session(begun=NOW, launched=0, launch_id="20261125-120000-manual").ended(NOW + HOUR, EndedBy.IDLE),
        session(begun=NOW, launched=None, run="r3"),
    ]
    runs = by_run(many, TABLE, NOW + 9 * HOUR)
    assert {name: line.sessions for name, line in runs.items()} == {"r1": 2, "r2": 1, "20261125-120000-manual": 1}
    assert runs["r1"].cost.seconds == 7200
    assert list(by_version(many, TABLE, NOW + 9 * HOUR)) == ["9", "10", "none"]


# Beside an instance that is always on


def test_the_saving_is_computed_over_the_same_time() -> None:
    """Half an hour in each of ten days, beside ten days of the same type."""
    first = datetime(2026, 11, 11, tzinfo=UTC)
    many = [
        session(begun=day, launched=0).ended(day + HOUR / 2, EndedBy.DOWN)
        for day in (first + timedelta(days=number) for number in range(10))
    ]
    now = first + timedelta(days=10)
    saving = saving_of_month(many, TABLE, now, "2026-11")
    assert saving is not None
    assert saving.seconds == 10 * 86_400
    assert saving.as_needed == pytest.approx(10 * cost_of(1800, TABLE.rates("us-east-1")).total)
    assert saving.always_on == pytest.approx(240 * (0.0832 + 0.005 + 30 * 0.08 / HOURS_A_MONTH))
    assert saving.saved == pytest.approx(saving.always_on - saving.as_needed)
    whole = saving_of_month(many, TABLE, NOW + 10_000 * HOUR, "2026-11")
    assert whole is not None
    assert whole.seconds == 20 * 86_400  # until the month's end, not longer
    assert saving_of_month(many, TABLE, now, "2026-10") is None


def test_an_instance_that_works_all_the_time_saves_nothing() -> None:
    one = session(begun=NOW, launched=0, minutes=2880)
    saving = saving_of_month([one], TABLE, NOW + 10 * HOUR, "2026-11")
    assert saving is not None
    assert saving.saved < 0


def test_beside_the_type_that_ran_longest() -> None:
    many = [
        session(begun=NOW, launched=0, instance_type="m6i.xlarge").ended(NOW + HOUR, EndedBy.DOWN),
        session(begun=NOW, launched=0, instance_type="c6i.xlarge", spot=True).ended(NOW + 2 * HOUR, EndedBy.DOWN),
    ]
    saving = saving_of_month(many, TABLE, NOW + 3 * HOUR, "2026-11")
    assert saving is not None
    assert saving.instance_type == "c6i.xlarge"
    assert saving.always_on == pytest.approx(always_on(3 * 3600, TABLE.rates("us-east-1", "c6i.xlarge")).total)


# For the budget and the pull request


def test_what_runs_counts_to_its_deadline_for_the_months_budget() -> None:
    over = session(begun=NOW, launched=0).ended(NOW + HOUR, EndedBy.DOWN)
    spot = session(begun=NOW, minutes=120, launched=0, spot=True)
    not_yet = session(begun=NOW, minutes=60, launched=None)
    many, now = [over, spot, not_yet], NOW + HOUR / 2
    dearest = sum(cost_of(seconds, TABLE.rates("us-east-1")).total for seconds in (3600, 7200, 3600))
    assert month_committed(many, TABLE, now) == pytest.approx(dearest)
    assert month_so_far(many, TABLE, now) < month_committed(many, TABLE, now)
    assert month_committed([not_yet.ended(now, EndedBy.DOWN)], TABLE, now) == 0
    in_two = session(begun=datetime(2026, 11, 30, 23, tzinfo=UTC), minutes=120, launched=0)
    at = datetime(2026, 11, 30, 23, 30, tzinfo=UTC)
    assert month_committed([in_two], TABLE, at) == pytest.approx(cost_of(3600, TABLE.rates("us-east-1")).total)


@given(st.lists(lives(), max_size=4), moments)
def test_a_month_never_has_cost_more_than_was_committed(many: list[Session], now: datetime) -> None:
    assert month_so_far(many, TABLE, now) <= month_committed(many, TABLE, now) * (1 + 1e-9)


def test_a_runs_own_bill() -> None:
    own = [
        session(begun=NOW, launched=0, run="r1", spot=True).ended(NOW + HOUR, EndedBy.UNKNOWN),
        session(begun=NOW + HOUR, launched=0, run="r1", instance_type="m6i.large"),
    ]
    other = session(begun=NOW, launched=0, run="r2").ended(NOW + HOUR, EndedBy.DOWN)
    now = NOW + 1.5 * HOUR
    bill = bill_of_run("r1", [*own, other], TABLE, now)
    assert bill is not None
    assert bill.kind == "m6i.large on demand in us-east-1"
    assert bill.cost.seconds == 5400
    assert bill.open
    assert (bill.month, bill.month_line.sessions) == ("2026-11", 3)
    assert bill.month_line.cost.total == pytest.approx(bill.cost.total + cost_of(3600, TABLE.rates("us-east-1")).total)
    assert bill.saving is not None
    assert bill_of_run("r3", [*own, other], TABLE, now) is None
    assert bill_of_run("r1", [session(begun=NOW, launched=None, run="r1")], TABLE, now) is None
