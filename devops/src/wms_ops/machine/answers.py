"""HTTP requests to a server, on this machine past any proxy that the environment names; and waiting for MLflow."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, Final

from wms.errors import RegistryUnreachableError
from wms.files import parse_json
from wms.json_text import to_json
from wms.loopback import is_loopback, scheme_of
from wms.registry.mlflow_calls import without_credentials
from wms.registry.mlflow_variables import certificate_of
from wms_ops.base.poll import poll

_ANY_CALL: Final = "/api/2.0/mlflow/experiments/search"
_PAUSE_S: Final = 1.0
_REPORT_S: Final = 10.0
_TIMEOUT_S: Final = 10.0
direct: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class NoAnswerError(Exception):
    """No server answered; the text gives the reason in a few words."""


def ask(url: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
    """Status and JSON value (None for other content) of a GET, or of a POST of `body`. Raises NoAnswerError."""
    data = None if body is None else to_json(body).encode()
    kind = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=data, headers={**kind, **(headers or {})})  # noqa: S310
    try:
        try:
            with _opener(url).open(request, timeout=_TIMEOUT_S) as answer:
                return int(answer.status), _value(answer.read())
        except urllib.error.HTTPError as error:
            with error:  # an error status is an answer, too
                return error.code, _value(error.read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NoAnswerError(str(getattr(error, "reason", error)) or type(error).__name__) from error


def _opener(url: str) -> urllib.request.OpenerDirector:
    """The way to a server: past any proxy on this machine; of a server that MLflow's client trusts, its certificate."""
    certificate = certificate_of(url) if scheme_of(url) == "https" else None
    context = ssl.create_default_context(cafile=certificate)
    proxies = [urllib.request.ProxyHandler({})] if is_loopback(url) else []
    return urllib.request.build_opener(*proxies, urllib.request.HTTPSHandler(context=context))


def _value(content: bytes) -> Any:
    try:
        return parse_json(content)
    except ValueError:
        return None


def probe_mlflow(url: str, headers: Mapping[str, str] | None = None) -> Callable[[], str | None]:
    """A probe that calls MLflow's API: /health answers sooner and proves less."""

    def probe() -> str | None:
        try:
            status, _ = ask(f"{url}{_ANY_CALL}", {"max_results": 1}, headers)
        except NoAnswerError as error:
            return str(error)
        return None if status == 200 else f"HTTP {status}"

    return probe


def wait_for_mlflow(uri: str, limit_s: float, show: Callable[[str], None]) -> None:
    """Return once MLflow at `uri` answers a call of its API; /health answers sooner and proves less.

    `show` hears the waiting time every few seconds. Raises RegistryUnreachableError after `limit_s` seconds.
    """

    def waiting(reason: str | None, seconds: float) -> None:
        show(f"Waiting for MLflow: {seconds:.0f} of at most {limit_s:.0f} s ({reason}).")

    reason = poll(
        lambda: why_silent(uri),
        limit_s,
        until=lambda why: why is None,
        pause_s=_PAUSE_S,
        waiting=waiting,
        every_s=_REPORT_S,
    )
    if reason is not None:
        raise RegistryUnreachableError(
            f"MLflow at {without_credentials(uri)} didn't answer within {limit_s:.0f} s ({reason}); look at the "
            "instance, or run it again."
        )


def why_silent(uri: str) -> str | None:
    """None if MLflow answers a call of its API, else the reason. Proxies count for other machines only."""
    reason = probe_mlflow(uri.rstrip("/"))()
    # 401 and 403 come from a running server; the calls that follow report wrong credentials.
    return None if reason in ("HTTP 401", "HTTP 403") else reason
