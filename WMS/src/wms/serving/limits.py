"""The service's limits, and the queue in which photos wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeVar

from wms.data.images import DEFAULT_MEGAPIXELS
from wms.serving.refusals import Refusal

if TYPE_CHECKING:
    from anyio import CapacityLimiter

RETRY_AFTER_S: Final = 2

Result = TypeVar("Result")


@dataclass(frozen=True)
class RequestLimits:
    """The limits of a process: bytes and megapixels of a photo, seconds for its upload, photos at a time.

    `at_once` are predicted at the same time, `waiting` more may wait. A prediction needs about 20 bytes of memory
    for each pixel of the photo.
    """

    upload_bytes: int = 25 * 2**20
    upload_seconds: float = 60.0
    megapixels: float = DEFAULT_MEGAPIXELS
    at_once: int = 2
    waiting: int = 16


class RequestQueue:
    """Runs `at_once` jobs in threads, lets `waiting` more wait in order, and refuses others.

    Use a queue within a single event loop.
    """

    def __init__(self, at_once: int, waiting: int) -> None:
        self._at_once, self._most = at_once, at_once + waiting
        self._inside = 0

    @cached_property
    def _limiter(self) -> CapacityLimiter:
        from anyio import CapacityLimiter

        return CapacityLimiter(self._at_once)

    def check(self) -> None:
        """Raise Refusal "busy" if the queue is full."""
        if self._inside >= self._most:
            text = f"{self._inside} photos are being predicted or wait already; try again in {RETRY_AFTER_S} seconds."
            raise Refusal("busy", text, {"Retry-After": str(RETRY_AFTER_S)})

    async def run(self, work: Callable[[], Result]) -> Result:
        """Wait for a turn, run `work` in a thread and return its result. Raises Refusal "busy" if the queue is full."""
        from anyio import to_thread

        self.check()
        # No await since the check, so no other request of this event loop came between.
        self._inside += 1
        try:
            return await to_thread.run_sync(work, limiter=self._limiter)
        finally:
            self._inside -= 1
