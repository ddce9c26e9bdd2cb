"""HTTP requests to a server: on this machine past any proxy that the environment names."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, Final

from wms.files import parse_json
from wms.loopback import is_loopback

_TIMEOUT_S: Final = 10.0
direct: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class NoAnswerError(Exception):
    """No server answered; the text gives the reason in a few words."""


def ask(url: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
    """Status and JSON value (None for other content) of a GET, or of a POST of `body`. Raises NoAnswerError."""
    data = None if body is None else json.dumps(body).encode()
    kind = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=data, headers={**kind, **(headers or {})})  # noqa: S310
    try:
        try:
            with (direct.open if is_loopback(url) else urllib.request.urlopen)(request, timeout=_TIMEOUT_S) as answer:
                return int(answer.status), _value(answer.read())
        except urllib.error.HTTPError as error:
            with error:  # an error status is an answer, too
                return error.code, _value(error.read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NoAnswerError(str(getattr(error, "reason", error)) or type(error).__name__) from error


def _value(content: bytes) -> Any:
    try:
        return parse_json(content)
    except ValueError:
        return None
