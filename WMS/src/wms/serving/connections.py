"""The connections of clients: how many there may be, and how long each may take, so that none stays for ever.

uvicorn ends an idle connection, but waits for ever for the rest of a request's head, for a body that no page reads, and
for a client that doesn't read its answer; and its own limit of connections refuses new clients, `GET /health` with
them, where the idle ones could make way. The time for a photo's upload is `wms.serving.arrivals`'s.
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS: Final = 256
"""Connections at the same time; beyond that the one that has been without a request for the longest makes way."""

HEAD_SECONDS: Final = 10.0
"""Seconds without a request: for the whole head of a request, or the rest of one that was answered already."""

READ_SECONDS: Final = 30.0
"""Seconds that a client may let its answer wait."""

_CLOSING_SECONDS: Final = 5.0


class GuardedProtocol(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, with deadlines for clients and a limit of connections."""

    _deadline: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _idle_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection; one too many takes the place of the longest idle one, or is refused."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._watch()
        if len(self.connections) > MOST_CONNECTIONS:
            guarded = [one for one in self.connections if isinstance(one, GuardedProtocol)]
            idle = [one for one in guarded if one._idle_since is not None]
            chosen = min(idle, key=lambda one: one._idle_since or 0.0, default=self)
            chosen._idle_since = None  # it's gone in a moment; the next one too many takes another's place
            chosen.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        for timer in (self._deadline, self._unread):
            if timer is not None:
                timer.cancel()
        self._idle_since = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take a part of a request."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Note that a request has its answer, and go on to the next."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Note that the client has more to read than fits the buffers."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Note that the client has read."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _watch(self) -> None:
        """Set the deadline while no request is being answered; bytes that come meanwhile don't move it."""
        if self.cycle is not None and not self.cycle.response_complete:
            if self._deadline is not None:
                self._deadline.cancel()
            self._deadline = self._idle_since = None
        elif self._deadline is None:
            self._idle_since = self.loop.time()
            self._deadline = self.loop.call_later(HEAD_SECONDS, self._end)

    def _end(self) -> None:
        """Close the connection; abort it, if the client doesn't even read what was sent."""
        self.transport.close()
        self._deadline = self.loop.call_later(_CLOSING_SECONDS, self.transport.abort)
