"""Waiting for a condition, never for a time alone; and the repetition of a write that lost against another's."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def poll(
    look: Callable[[], T],
    limit_s: float | None,
    *,
    until: Callable[[T], object] = bool,
    pause_s: float = 0.1,
    most_s: float = 0.0,
    waiting: Callable[[T, float], object] = lambda _value, _seconds: None,
    every_s: float = 0.0,
    most_looks: float = math.inf,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Return the first value of `look` that satisfies `until`, or the last after `limit_s` seconds (None: no limit).

    The pause between two calls is `pause_s` seconds and doubles each time up to `most_s`. `waiting` gets the newest
    value and the seconds so far, after the first call in vain and then every `every_s` seconds. An exception of `look`
    or `waiting` ends the wait, and so does the `most_looks`th call. `sleep` pauses.

    >>> poll(iter([0, 0, 7]).__next__, limit_s=5, pause_s=0)
    7
    """
    from tenacity import RetryCallState, Retrying, retry_if_result

    told: list[float] = []

    def seconds(state: RetryCallState) -> float:
        return state.seconds_since_start or 0.0

    def pause(state: RetryCallState) -> float:
        # The last pause ends at the limit, so that `look` is called once more at that moment and no wait is too long.
        wanted = min(pause_s * 2.0 ** (state.attempt_number - 1), max(pause_s, most_s)) if most_s else pause_s
        return wanted if limit_s is None else max(0.0, min(wanted, limit_s - seconds(state)))

    def tell(state: RetryCallState) -> None:
        if not told or seconds(state) - told[-1] >= every_s:
            told.append(seconds(state))
            waiting(last(state), seconds(state))

    def last(state: RetryCallState) -> Any:
        return state.outcome.result() if state.outcome else None

    again = Retrying(
        retry=retry_if_result(lambda value: not until(value)),
        stop=lambda state: state.attempt_number >= most_looks or (limit_s is not None and seconds(state) >= limit_s),
        wait=pause,
        sleep=sleep,
        before_sleep=tell,
        retry_error_callback=last,
    )
    found: T = again(look)
    return found


def insist(write: Callable[[], T], lost: type[Exception], *, tries: int, most_s: float = 2.0) -> T:
    """Return the result of `write`, repeated after `lost`: another process wrote first.

    The pauses are random and grow up to `most_s` seconds. The `tries`th `lost` is raised, and every other error.
    """
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

    again = Retrying(
        retry=retry_if_exception_type(lost),
        wait=wait_random_exponential(multiplier=0.05, max=most_s),
        stop=stop_after_attempt(tries),
        reraise=True,
    )
    return again(write)
