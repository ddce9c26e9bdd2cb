"""The service's limits, and the queue in which photos wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, TypeVar

from wms.data.images import DEFAULT_MEGAPIXELS
from wms.serving.memory import MIB, mebibytes
from wms.serving.refusals import Refusal

RETRY_AFTER_S: Final = 2

Result = TypeVar("Result")


@dataclass(frozen=True)
class RequestLimits:
    """The limits of a process: a photo's bytes and megapixels, seconds for an upload, photos at a time, memory.

    `receiving` photos may arrive at the same time, each within `upload_seconds` and at `upload_pace` bytes a second:
    one that is late by `late_seconds` is given up, and one that is late at all when another needs its place.
    `at_once` are predicted at the same time, `waiting` more may wait. `memory` is what the process may take, in
    bytes; None: what its container or machine has.
    """

    upload_bytes: int = 25 * MIB
    upload_seconds: float = 60.0
    upload_pace: int = 16 * 1024
    late_seconds: float = 10.0
    megapixels: float = DEFAULT_MEGAPIXELS
    receiving: int = 32
    at_once: int = 2
    waiting: int = 16
    memory: int | None = None


@dataclass(eq=False)
class _Waiting:
    weight: int
    turn: asyncio.Future[None] = field(default_factory=asyncio.Future)


class RequestQueue:
    """Runs jobs in threads in the order of their arrival, `at_once` at a time and at most `memory` bytes together.

    `waiting` more may wait. A job whose caller was cancelled leaves the queue; if the job runs already, its place and
    its memory stay taken until its end. Use a queue within a single event loop.
    """

    def __init__(self, at_once: int, waiting: int, memory: int | None = None) -> None:
        """`memory` of None is any amount."""
        self._at_once, self._most, self.memory = at_once, at_once + waiting, memory
        self._line: deque[_Waiting] = deque()
        self._inside = self._running = self._weight = 0
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="predict")
        self._scales = ThreadPoolExecutor(1, thread_name_prefix="weigh")

    def check(self) -> None:
        """Raise Refusal "busy" if the queue is full."""
        if self._inside >= self._most:
            raise busy(f"{self._inside} photos are being predicted or wait already")

    async def run(self, work: Callable[[], Result], weigh: Callable[[], int] = lambda: 0) -> Result:
        """Wait for a turn, run `work` in a thread and return its result; `weigh` tells the bytes that `work` takes.

        Raises Refusal "busy" if the queue is full, "too_many_pixels" for a job that could never run.
        """
        self.check()
        # No await since the check, so no other request of this event loop came between.
        self._inside += 1
        running: asyncio.Future[Result] | None = None
        try:
            # One at a time: each weighing reads a whole file.
            weight = await asyncio.get_running_loop().run_in_executor(self._scales, weigh)
            await self._turn(weight)
            running = self._started(work, weight)
            return await asyncio.shield(running)  # a thread can't be cancelled
        finally:
            if running is None or running.done():
                self._inside -= 1
            else:
                running.add_done_callback(self._left_behind)

    def _left_behind(self, _: asyncio.Future[Result]) -> None:
        self._inside -= 1

    async def _turn(self, weight: int) -> None:
        """Wait until a job may run, which then counts as running."""
        if self.memory is not None and weight > self.memory:
            raise Refusal(
                "too_many_pixels",
                f"The photo needs {mebibytes(weight)} of memory, more than the {mebibytes(self.memory)} that this "
                "service has for photos; scale it down.",
            )
        waiting = _Waiting(weight)
        self._line.append(waiting)
        self._admit()
        try:
            await waiting.turn
        except asyncio.CancelledError:
            if not waiting.turn.cancelled():  # its turn had come just before
                self._leave(weight)
            elif waiting in self._line:
                self._line.remove(waiting)
                self._admit()  # those behind may fit
            raise

    def _started(self, work: Callable[[], Result], weight: int) -> asyncio.Future[Result]:
        try:
            running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        except BaseException:  # such as no thread to be had
            self._leave(weight)
            raise

        def ended(done: asyncio.Future[Result]) -> None:
            self._leave(weight)
            if not done.cancelled():
                done.exception()  # else asyncio complains where the client has left

        running.add_done_callback(ended)
        return running

    def _admit(self) -> None:
        while self._line and self._running < self._at_once:
            first = self._line[0]
            if self.memory is not None and self._running and self._weight + first.weight > self.memory:
                return  # smaller ones behind wait, too: else a large photo would wait for ever
            self._line.popleft()
            if first.turn.cancelled():  # its caller is about to notice
                continue
            self._running += 1
            self._weight += first.weight
            first.turn.set_result(None)

    def _leave(self, weight: int) -> None:
        self._running -= 1
        self._weight -= weight
        self._admit()


def busy(why: str) -> Refusal:
    """The refusal "busy", for a client that may well come back soon; `why` begins the sentence."""
    return Refusal("busy", f"{why}; try again in {RETRY_AFTER_S} seconds.", {"Retry-After": str(RETRY_AFTER_S)})
