"""The service's public port: passes each connection on to the current version, and notes the last use.

Versions change behind the port without a moment in which no process listens. Health checks go past the port, so they
don't count as use.
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
_NO_MODEL: Final = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(_TEXT)


class Relay:
    """A TCP proxy that listens on `host`:`port` in a thread; `target` gives the current version's port on loopback."""

    def __init__(self, host: str, port: int, target: Callable[[], int | None]) -> None:
        self._host, self._port, self._target = host, port, target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self.last_used = 0.0
        """Seconds since 1970 of the last bytes from a client."""

    def start(self) -> None:
        """Begin to listen. Raises CloudError for a port in use."""
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
        upstream: asyncio.StreamWriter | None = None
        first = b""
        with contextlib.suppress(OSError):  # one side is gone, so the other gets closed
            first = await reader.read(_BLOCK)  # a port scan sends no byte, and so doesn't count as use
            if first:
                self.last_used = time.time()
                answers, upstream = await self._reach()
                upstream.write(first)
                coming = asyncio.ensure_future(self._hand_on(reader, upstream))
                try:
                    while block := await answers.read(_BLOCK):
                        writer.write(block)
                        await writer.drain()
                finally:
                    coming.cancel()
        if upstream is None and not reader.at_eof():
            writer.write(_NO_MODEL + (b"" if first.startswith(b"HEAD ") else _TEXT))
        for stream in (upstream, writer):
            if stream is not None:
                stream.close()

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        port = self._target()
        if port is None:
            raise ConnectionRefusedError
        return await asyncio.open_connection("127.0.0.1", port)

    async def _hand_on(self, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter) -> None:
        """Pass on the client's bytes, to their end."""
        with contextlib.suppress(OSError):
            while block := await reader.read(_BLOCK):
                self.last_used = time.time()
                upstream.write(block)
                await upstream.drain()
            upstream.close()  # the client is gone, so no answer is needed
