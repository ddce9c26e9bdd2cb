"""The one way to wait."""

from __future__ import annotations

import time

import pytest

from wms_ops.base.errors import BusyError, CloudError
from wms_ops.base.poll import insist, poll


def test_it_returns_what_it_waited_for_and_tells_of_the_wait() -> None:
    values = iter(["", "", "there"])
    told: list[str] = []
    found = poll(lambda: next(values), 10, pause_s=0, waiting=lambda value, _: told.append(value))
    assert (found, told) == ("there", ["", ""])


def test_a_condition_of_its_own_and_told_once_in_a_while() -> None:
    numbers = iter(range(100))
    told: list[int] = []
    found = poll(
        lambda: next(numbers), 10, until=lambda n: n == 50, pause_s=0, waiting=lambda n, _: told.append(n), every_s=60
    )
    assert (found, told) == (50, [0])


def test_after_its_limit_it_returns_the_last_look() -> None:
    begun = time.monotonic()
    looks: list[float] = []

    def look() -> int:
        looks.append(time.monotonic())
        return 0

    assert poll(look, 0.3, pause_s=0.01, most_s=30) == 0
    assert len(looks) > 3
    assert 0.3 <= looks[-1] - begun < 5, "the last pause ends with the limit"


def test_without_time_it_looks_once_and_an_error_ends_the_wait() -> None:
    looks: list[int] = []
    assert poll(lambda: looks.append(1), 0) is None
    assert looks == [1]
    with pytest.raises(ValueError, match="broken"):
        poll(lambda: int("broken"), None)


def test_a_number_of_looks_is_a_limit_too_and_the_pauses_are_the_callers() -> None:
    looks, pauses = list[int](), list[float]()
    assert poll(lambda: looks.append(1), None, pause_s=3, most_looks=3, sleep=pauses.append) is None
    assert (len(looks), pauses) == (3, [3, 3])


def test_a_write_is_repeated_until_it_wins_and_no_other_error_is() -> None:
    tries = iter([BusyError("first"), BusyError("second"), None])

    def write() -> str:
        if error := next(tries):
            raise error
        return "written"

    assert insist(write, BusyError, tries=3, most_s=0.01) == "written"
    tries = iter([BusyError("first"), BusyError("second")])
    with pytest.raises(BusyError, match="second"):
        insist(write, BusyError, tries=2, most_s=0.01)
    tries = iter([CloudError("other")])
    with pytest.raises(CloudError, match="other"):
        insist(write, BusyError, tries=2, most_s=0.01)
