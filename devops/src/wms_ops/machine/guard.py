"""Access to MLflow on an instance: a password for everything but /health, and the time of the last request."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import os
import time
from pathlib import Path
from typing import Final

from wms_ops.machine.password import OWN_USER, USER
from wms_ops.machine.routes import App, Message, Receive, Scope, Send

LAST_REQUEST: Final = "last-request"
"""The file whose time of change is that of the last request from outside."""

_OPEN: Final = "/health"
_ASKING: Final = ("GET", "HEAD")
_NOTED_S: Final = 1.0
_REFUSAL: Final = b"MLflow asks for a user name and a password; deploy-to-cloud.sh prints where to find them.\n"


async def _no_body() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


class Guard:
    """ASGI middleware: HTTP Basic with one password, of which only the SHA-256 in hexadecimal is known here.

    A request of the user "wms" updates the change time of `noted`.
    """

    def __init__(self, app: App, password_sha256: str, noted: Path) -> None:
        self._app, self._password, self._noted = app, password_sha256.encode(), noted
        self._noted_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 401."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] == "http" and scope["path"] == _OPEN and scope["method"] in _ASKING:
            await self._app(scope, _no_body, send)  # MLflow would keep all of a stranger's body in memory
            return
        user = self._user(scope)
        if user is not None:
            if user == USER:
                self._note()
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            headers = [(b"content-type", b"text/plain"), (b"www-authenticate", b'Basic realm="MLflow"')]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": _REFUSAL})
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _user(self, scope: Scope) -> str | None:
        """The user name of a request, if the password is right."""
        kind, _, encoded = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
        name = password = b""
        if kind.lower() == b"basic":
            with contextlib.suppress(binascii.Error, ValueError):
                name, _, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        given = hashlib.sha256(password).hexdigest().encode()
        is_right = hmac.compare_digest(given, self._password)  # at any length in the same time
        return next((user for user in (USER, OWN_USER) if is_right and name == user.encode()), None)

    def _note(self) -> None:
        now = time.monotonic()  # the disk is touched once a second, not once a request
        if now - self._noted_at >= _NOTED_S:
            self._noted_at = now
            self._noted.touch()
            os.utime(self._noted)
