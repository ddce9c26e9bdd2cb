"""MLflow's routes that clients of this project and MLflow's pages use; every other route is refused.

MLflow lets a client name the address of an experiment's files: `file:///etc` or another bucket. So does a version's
source, and so do routes that no client here uses (webhooks, gateway, traces, the assistant, which runs programs).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from wms.files import parse_json
from wms.json_text import to_json

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_OPEN: Final = re.compile(
    r"""
    /(?:ajax-)?api/2\.0/
    (?:
      mlflow/
      (?:
        (?:experiments|runs)/(?:create|delete|get|restore|search|update)
      | experiments/(?:get-by-name|search-datasets|set-experiment-tag|delete-experiment-tag)
      | runs/(?:delete-tag|log-batch|log-inputs|log-metric|log-model|log-parameter|outputs|set-tag)
      | metrics/get-history(?:-bulk)?(?:-interval)?
      | artifacts/list
      | upload-artifact
      | registered-models/(?:alias|create|delete|delete-tag|get|get-latest-versions|rename|search|set-tag|update)
      | model-versions/(?:create|delete|delete-tag|get|get-download-uri|search|set-tag|transition-stage|update)
      | logged-models(?:/[\w-]+(?:/(?:params|tags(?:/.*)?|artifacts/(?:directories|files)))?)?
      )
    | mlflow-artifacts/artifacts(?:/.*)?
    )
    | /(?:ajax-)?api/2\.0mlflow/experiments/search-datasets
    | /(?:ajax-)?api/3\.0/mlflow/(?:server-info|traces/search)
    | /graphql
    | /get-artifact
    | /model-versions/get-artifact
    | /static-files/.*
    | /version
    | /health
    | /
    """,
    re.VERBOSE,
)
_CREATED: Final = re.compile(r"/(?:ajax-)?api/2\.0/mlflow/(experiments|model-versions)/create")
_FIELDS: Final = {
    "experiments": {"name", "artifact_location", "tags"},
    "model-versions": {"name", "source", "run_id", "model_id", "run_link", "description", "tags"},
}
_LOCATIONS: Final = {
    "experiments": ("artifact_location", ("mlflow-artifacts",)),
    "model-versions": ("source", ("mlflow-artifacts", "runs", "models")),
}
_ADDRESS: Final = re.compile(r"([a-z-]+):/(?!/)[^\x00-\x1f\x7f\\?#%]*")
_LONGEST: Final = 2**20
_FILES: Final = re.compile(r"/(?:ajax-)?api/2\.0/(?:mlflow-artifacts/artifacts/|mlflow/upload-artifact)")
LONGEST_FILE, LONGEST_BODY = 2**30, 2**26
"""Bytes of an uploaded file, and of any other request: MLflow keeps all of a request's body in memory."""

_UNFIT: Final = re.compile(r"(?:^|/)\.{1,2}(?:/|$)|//|[\\\x00-\x1f\x7f]")


class Routes:
    """ASGI middleware that answers 403 to a request for a route or a location that isn't open."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 403."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if scope["type"] != "http" or not is_open(path) or not all(map(_stays, paths_asked(scope))):
            await refuse(
                scope,
                send,
                f"The route {path[:200]!r} or a path in it isn't open here: no client of this project uses it.",
            )
            return
        limit = LONGEST_FILE if _FILES.match(path) else LONGEST_BODY
        told = dict(scope["headers"]).get(b"content-length", b"0")
        if not told.isdigit() or int(told) > limit:
            await refuse(scope, send, f"A body of more than {limit:,} bytes isn't taken here.", status=413)
            return
        receive = _limited(receive, limit)
        creating = _CREATED.fullmatch(path)
        if creating is None:
            await self._app(scope, receive, send)
            return
        body = await _read(receive)
        try:
            content = checked(body, creating[1])
        except ValueError as error:
            await refuse(scope, send, str(error))
            return
        # MLflow gets what was checked, written anew: no second reader can understand another thing.
        headers = [(name, value) for name, value in scope["headers"] if name not in _ABOUT_BODY]
        headers += [(b"content-length", b"%d" % len(content)), (b"content-type", b"application/json")]
        await self._app({**scope, "headers": headers}, _replayed(content, receive), send)


_ABOUT_BODY: Final = (b"content-length", b"content-type", b"content-encoding", b"transfer-encoding")


def is_open(path: str) -> bool:
    """Whether a route is open, and its path, which is decoded once already, names nothing above MLflow's files.

    >>> is_open("/api/2.0/mlflow/runs/create"), is_open("/api/2.0/mlflow-artifacts/artifacts/a/%2e%2e/b")
    (True, False)
    """
    while (plain := unquote(path)) != path:
        path = plain
    return _OPEN.fullmatch(path) is not None and _UNFIT.search(path) is None


def paths_asked(scope: Scope) -> list[str]:
    """The paths within MLflow's files that a request's query names."""
    query = scope.get("query_string", b"").decode("latin-1")
    # Also artifact_directory_path and artifact_file_path.
    return [value for name, value in parse_qsl(query, keep_blank_values=True) if name.endswith("path")]


def _stays(path: str) -> bool:
    while (plain := unquote(path)) != path:
        path = plain
    return not path.startswith("/") and _UNFIT.search(path) is None


def checked(body: bytes, kind: str) -> bytes:
    """The JSON of a request to create `kind`, "experiments" or "model-versions". Raises ValueError with a sentence."""
    name, schemes = _LOCATIONS[kind]
    if len(body) > _LONGEST:
        raise ValueError(f"A request with an {name} may have {_LONGEST:,} bytes; this one has more.")
    try:
        values = parse_json(body)
    except ValueError as error:
        raise ValueError(f"A request with an {name} must be a JSON object; this one isn't valid JSON.") from error
    if not isinstance(values, dict) or (unknown := values.keys() - _FIELDS[kind]):
        named = f"; {min(unknown)[:80]!r} isn't one" if isinstance(values, dict) else ""
        raise ValueError(f"A request with an {name} must be a JSON object of known fields{named}.")
    location = values.get(name)
    is_default = kind == "experiments" and location in ("", None)
    if not is_default and not (isinstance(location, str) and is_inside(location, schemes)):
        known = " or ".join(f"{scheme}:/..." for scheme in schemes)
        raise ValueError(
            f"The {name} {str(location)[:200]!r} isn't open here: name one in MLflow's own store, as {known}, or none."
        )
    return to_json(values).encode()


def is_inside(location: str, schemes: tuple[str, ...]) -> bool:
    """Whether an address of files has one of the schemes, which all name MLflow's own store, and stays in it.

    >>> asked = ("mlflow-artifacts:/1/ab", "models:/m/1", "mlflow-artifacts://host/x")
    >>> [is_inside(one, ("mlflow-artifacts",)) for one in asked]
    [True, False, False]
    """
    found = _ADDRESS.fullmatch(location)
    return found is not None and found[1] in schemes and _UNFIT.search(location) is None


async def refuse(scope: Scope, send: Send, sentence: str, *, status: int = 403) -> None:
    """Answer with a refusal's status in the form from which MLflow's clients take the sentence."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    body = to_json({"error_code": "PERMISSION_DENIED", "message": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _limited(receive: Receive, limit: int) -> Receive:
    """Hand a request's body on, and raise ValueError, which ends the request, once more has come than was told."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise ValueError(f"a request's body was longer than {limit:,} bytes")
        return message

    return counted


async def _read(receive: Receive) -> bytes:
    """The request's body, cut soon after the longest that is accepted."""
    body = b""
    while len(body) <= _LONGEST:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return body


def _replayed(content: bytes, receive: Receive) -> Receive:
    """Hand out a body once, then whatever else the client sends."""
    left = [content]

    async def again() -> Message:
        return {"type": "http.request", "body": left.pop(), "more_body": False} if left else await receive()

    return again
