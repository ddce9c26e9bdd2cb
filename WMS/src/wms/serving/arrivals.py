"""The photos that arrive: how many at a time, and at what pace.

They are counted apart from the queue, so a slow upload holds nobody's turn; and whoever sends too slowly makes way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from wms.serving.limits import RequestLimits, busy

_AHEAD_S: Final = 1.0


class Arrival:
    """A photo that arrives. `due` is the time of the event loop until which its client has sent enough."""

    def __init__(self, limits: RequestLimits) -> None:
        """`limits` are those of an upload."""
        self._limits, self._now = limits, asyncio.get_running_loop().time
        self.due = self._now()
        self._end = self.due + limits.upload_seconds
        self.timer = asyncio.timeout_at(self._deadline())

    def came(self, count: int) -> None:
        """Note that bytes have come; however many, they are enough for the next second at most."""
        self.due = min(self.due + count / self._limits.upload_pace, self._now() + _AHEAD_S)
        self._set()

    def is_late(self) -> bool:
        """Whether the client hasn't sent enough."""
        return self.due < self._now()

    def give_up(self) -> None:
        """End the upload."""
        self._end = self._now()
        self._set()

    def _set(self) -> None:
        if not self.timer.expired():  # else it's ending already
            self.timer.reschedule(self._deadline())

    def _deadline(self) -> float:
        return min(self._end, self.due + self._limits.late_seconds)


class Arrivals:
    """Counts the photos that arrive, as each may fill a file."""

    def __init__(self, limits: RequestLimits) -> None:
        """`limits` say how many, and what is asked of each."""
        self._limits = limits
        self._inside: set[Arrival] = set()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Arrival]:
        """Count a photo during the `async with`; one too many takes the place of the latest one.

        Raises Refusal "busy" if none is late, TimeoutError if this one is given up.
        """
        if len(self._inside) >= self._limits.receiving:
            latest = min(self._inside, key=lambda one: one.due)
            if not latest.is_late():
                raise busy(f"{len(self._inside)} photos are arriving already")
            self._inside.remove(latest)
            latest.give_up()
        arrival = Arrival(self._limits)
        self._inside.add(arrival)
        try:
            async with arrival.timer:
                yield arrival
        finally:
            self._inside.discard(arrival)
