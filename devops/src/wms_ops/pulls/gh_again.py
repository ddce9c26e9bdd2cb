"""When a request to GitHub is sent again: after a failure that isn't the request's, and once a limit is over."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, TypeVar

from wms_ops.base.errors import StoreUnreachableError
from wms_ops.base.outputs import on_actions

T = TypeVar("T")

PAUSES_S: Final = [1.0, 4.0]
"""Between two attempts of a request that GitHub didn't answer."""

LONGEST_S: Final = 900.0
"""How long a workflow waits for the end of a limit, in all; a person at a terminal is told instead."""

UNTOLD_S: Final = 60.0
"""GitHub asks for at least a minute where it names no time."""


class Transient(Exception):
    """A failure that may pass: `error` is what a person is told if it doesn't. `headers` have lower-case names."""

    def __init__(self, error: Exception, *, limited: bool, headers: Mapping[str, str]) -> None:
        super().__init__(str(error))
        self.error, self.limited, self.headers = error, limited, headers


def headers_of(said: bytes) -> tuple[dict[str, str], bytes]:
    """Split what `gh api --include` printed into headers, by lower-case name, and body.

    >>> headers_of(b"HTTP/1.1 403 Forbidden\\nRetry-After: 7\\r\\n\\r\\n{}")
    ({'retry-after': '7'}, b'{}')
    """
    if not said.startswith(b"HTTP/"):
        return {}, said
    head, _, body = said.partition(b"\r\n\r\n")
    lines = (line.partition(":") for line in head.decode("utf-8", "replace").splitlines()[1:])
    return {name.strip().lower(): value.strip() for name, _, value in lines}, body


def wait_s(headers: Mapping[str, str], now: float) -> float:
    """Return the seconds until a limit is over: as `retry-after` says, else `x-ratelimit-reset`, else a minute.

    >>> wait_s({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1060"}, now=1000.0)
    61.0
    """
    told = {name: int(text) for name, text in headers.items() if text.isascii() and text.isdigit() and len(text) < 12}
    if "retry-after" in told:
        return float(told["retry-after"])
    if told.get("x-ratelimit-remaining") == 0 and "x-ratelimit-reset" in told:
        return max(told["x-ratelimit-reset"] - now + 1, 1.0)
    return UNTOLD_S


def pause(seconds: float) -> None:
    """Wait; tests look at what is waited for."""
    time.sleep(seconds)


def repeated(send: Callable[[], T], *, may_repeat: bool) -> T:
    """Return what `send` returns, sent again after a failure that may pass.

    A request that GitHub refused for a limit was never carried out, so each kind is repeated; one without an answer
    only if `may_repeat`. Raises the error of the last attempt.
    """
    waited, failures = 0.0, iter(PAUSES_S)
    while True:
        try:
            return send()
        except Transient as trouble:
            if trouble.limited:
                seconds = wait_s(trouble.headers, time.time())
                waited += seconds
                if not on_actions() or waited > LONGEST_S:
                    until = datetime.fromtimestamp(time.time() + seconds, UTC)
                    said = str(trouble.error).partition(";")[0]
                    raise StoreUnreachableError(
                        f"{said}; it takes requests again from {until:%H:%M:%S} UTC on, so run this again then."
                    ) from trouble.error
                print(f"GitHub limits requests; waiting {seconds:.0f} s, as it asks for.", file=sys.stderr, flush=True)
                pause(seconds)
                continue
            again = next(failures, None) if may_repeat else None
            if again is None:
                raise trouble.error from None
            pause(again)
