"""Handlers of Ctrl-C and SIGTERM: which work the signals may stop, and which they may not."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

_HANG_UP: Final = (signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()


@contextlib.contextmanager
def stoppable() -> Iterator[Callable[[], None]]:
    """Let SIGTERM and a closed terminal stop the run as Ctrl-C does: in order, with the instance torn down.

    Yields a function that raises KeyboardInterrupt once one of them was heard: a library may have swallowed the first.
    """
    heard = False

    def stop(_number: int, _frame: Any) -> None:
        nonlocal heard
        heard = True
        raise KeyboardInterrupt

    def check() -> None:
        if heard:
            raise KeyboardInterrupt

    # Who ignores Ctrl-C, as a shell's job in the background does, goes on ignoring it.
    plain = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with _handling(stop, signal.SIGTERM, *_HANG_UP, *([signal.SIGINT] if plain else [])):
        yield check


@contextlib.contextmanager
def unstoppable(tell: Callable[[str], None]) -> Iterator[None]:
    """Keep Ctrl-C, SIGTERM and a closed terminal from cutting the teardown off."""

    def wait(_number: int, _frame: Any) -> None:
        tell("Everything is being stopped; this can't be interrupted.")

    with _handling(wait, signal.SIGINT, signal.SIGTERM, *_HANG_UP):
        yield


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind the stack, unless the signal has a handler already."""

    def leave(number: int, _frame: Any) -> None:
        raise SystemExit(128 + number)

    # A caller's own handler, such as that of `stoppable`, does more than this one.
    with _handling(leave, *([signal.SIGTERM] if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL else [])):
        yield


@contextlib.contextmanager
def _handling(handler: Callable[[int, Any], None], *numbers: signal.Signals) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
