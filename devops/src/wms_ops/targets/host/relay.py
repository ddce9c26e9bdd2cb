"""The service's public door: hands each connection on to whichever version is served, and knows when it was used.

Versions change behind it without a moment in which nobody listens, and health checks, which go past it, don't count
as use.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from wms_ops.base.errors import CloudError

_BLOCK: Final = 64 * 1024
_START_S: Final = 10.0
_TEXT: Final = b"No model is served here yet.\n"
_NOBODY: Final = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (
    len(_TEXT),
    _TEXT,
)


class Relay:
    """Listens on `host`:`port` in a thread of its own; `target` says the port on loopback where to hand on to."""

    def __init__(self, host: str, port: int, target: Callable[[], int | None]) -> None:
        self._host, self._port, self._target = host, port, target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self.last_used = 0.0
        """Seconds since 1970 when a client last sent something."""

    def start(self) -> None:
        """Begin to listen. Raises CloudError where the port can't be had."""
        self._thread.start()
        started: Future[asyncio.Server] = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, self._host, self._port), self._loop
        )
        try:
            started.result(_START_S)
        except OSError as error:
            raise CloudError(f"Port {self._port} can't be had for the service: {error.strerror or error}.") from error

    def stop(self) -> None:
        """End; open connections are cut."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there: asyncio.StreamWriter | None = None
        with contextlib.suppress(OSError):  # one side is gone: so is the other
            first = await reader.read(_BLOCK)
            if first:
                self.last_used = time.time()
                answers, there = await self._reach()
                there.write(first)
                coming = asyncio.ensure_future(self._hand_on(reader, there))
                try:
                    while block := await answers.read(_BLOCK):
                        writer.write(block)
                        await writer.drain()
                finally:
                    coming.cancel()
        if there is None and not reader.at_eof():
            writer.write(_NOBODY)
        for one in (there, writer):
            if one is not None:
                one.close()

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        port = self._target()
        if port is None:
            raise ConnectionRefusedError
        return await asyncio.open_connection("127.0.0.1", port)

    async def _hand_on(self, reader: asyncio.StreamReader, there: asyncio.StreamWriter) -> None:
        """What the client sends, to its end."""
        with contextlib.suppress(OSError):
            while block := await reader.read(_BLOCK):
                self.last_used = time.time()
                there.write(block)
                await there.drain()
            there.close()  # nobody waits for an answer any more
