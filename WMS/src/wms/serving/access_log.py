"""Logs a line for each request, free of text that a client chose."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOG: Final = logging.getLogger("wms.serving")
OTHER: Final = "other"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class AccessLog:
    """ASGI middleware: logs method, route, status, milliseconds and the model's version.

    A path outside of `paths`, and an odd method, is logged as "other": a client could write into the log with either.
    """

    def __init__(self, app: ASGIApp, *, paths: Collection[str], version: str) -> None:
        self._app, self._paths, self._version = app, frozenset(paths), version

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, then log it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500  # what an exception becomes

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else OTHER
            path = scope["path"] if scope["path"] in self._paths else OTHER
            milliseconds = (time.perf_counter() - started) * 1000
            LOG.info("%s %s %d %.0f ms version %s", method, path, status, milliseconds, self._version)
