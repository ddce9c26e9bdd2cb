"""Calls MLflow in bounded time, retries where a retry helps, and reports a failure in a sentence.

MLflow's own client waits for minutes and tries seven times, and reads its settings from environment variables only.
This module sets those variables during a call and restores them afterwards; variables that the user set stay.
"""

from __future__ import annotations

import importlib
import re
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_delay
from tenacity.wait import wait_exponential, wait_random

from wms.errors import ModelNotFoundError, RegistryError, RegistryUnreachableError, WmsError
from wms.interrupt import hear_ctrl_c
from wms.quiet import QUIET
from wms.registry import mlflow_address, mlflow_variables
from wms.settings import PatienceSettings

T = TypeVar("T")
LONGEST_REQUEST_S = 30

_AGAIN = frozenset({408, 429, *range(500, 600)})


def without_credentials(text: str) -> str:
    """Remove user names and passwords from the URIs in `text`.

    >>> without_credentials("http://me:secret@localhost:5000")
    'http://localhost:5000'
    """
    return re.sub(r"//[^/\s]*@", "//", text)


def call(server: str, what: str, work: Callable[[], T], progress: Callable[[], int] | None = None) -> T:
    """Return the result of `work`; `what` describes the call for the user, such as "reading the alias production".

    `work` runs again while the server doesn't answer, so it must be safe to repeat. While `progress` (bytes
    that have arrived) grows, the time limit starts anew. Raises RegistryUnreachableError, RegistryError or
    ModelNotFoundError; errors of this project pass unchanged.
    """
    limit = PatienceSettings.read().wms_mlflow_timeout
    with _settings(limit):
        importlib.import_module("mlflow.tracking")  # up to a minute on a busy machine, which isn't the server's fault
    deadline = time.monotonic() + limit
    retrying = Retrying(
        retry=retry_if_exception_type(RegistryUnreachableError),
        stop=stop_after_delay(limit),
        wait=wait_exponential(multiplier=0.2, max=5) + wait_random(0, 0.2),
        sleep=lambda seconds: time.sleep(max(0.0, min(seconds, deadline - time.monotonic()))),
        reraise=True,
    )

    def attempt() -> T:
        # Even the last attempt gets a second; otherwise it would fail before a healthy server could answer.
        left = max(deadline - time.monotonic(), min(limit, 1.0))
        try:
            return _bounded(work, left, limit, progress)
        except WmsError:
            raise
        except Exception as error:
            raise translate(server, what, error) from error

    try:
        with _settings(limit, server):
            return retrying(attempt)
    finally:
        hear_ctrl_c()  # the first call imports MLflow


def translate(server: str, what: str, error: Exception) -> Exception:
    """Translate MLflow's error into the project's; an error that is a bug is returned unchanged."""
    from mlflow.exceptions import MlflowException
    from requests import HTTPError, RequestException

    status, code = _status(error), getattr(error, "error_code", "")
    reason = reason_of(error)
    if code in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"):
        return ModelNotFoundError(f"The model registry at {server} lacks what was asked for while {what}: {reason}.")
    # Two requests that meet in MLflow's database are answered with 400, though the second would do if repeated.
    collided = "sqlalche.me" in str(error)
    if hint := mlflow_address.wrong_address(error):
        code = f" ({status})" if status == 404 else ""
        return RegistryError(f"The model registry at {server} can't be used for {what}{code}: {reason}. {hint}")
    if isinstance(error, TimeoutError | ConnectionError) or status in _AGAIN or collided:
        hint = mlflow_address.perhaps(server, error) or (
            "Check that the server runs and that MLFLOW_TRACKING_URI names it, then run this again."
        )
        return RegistryUnreachableError(f"The model registry at {server} doesn't answer while {what}: {reason}. {hint}")
    if isinstance(error, MlflowException | HTTPError) and status is not None:
        hint = mlflow_address.of_status(status)
        return RegistryError(f"The model registry at {server} refuses {what} ({status}): {reason}. {hint}")
    if isinstance(error, RequestException):
        return RegistryUnreachableError(
            f"The connection to the model registry at {server} broke while {what}: {reason}."
        )
    return error


def _status(error: Exception) -> int | None:
    from mlflow.exceptions import MlflowException
    from requests import HTTPError

    if isinstance(error, HTTPError) and error.response is not None:
        return int(error.response.status_code)
    if isinstance(error, MlflowException):
        # What failed in a download's thread arrives as text; so does a status that isn't JSON.
        if isinstance(told := getattr(error, "json", None), dict) and "error_code" not in told:
            return 400  # a refusal without a code isn't MLflow's, which counts it as an error of the server
        said = re.search(r"\b([45]\d\d) (?:Client|Server) Error|failed with error code ([45]\d\d)", str(error))
        return int(said[1] or said[2]) if said else int(error.get_http_status_code())
    return None


def reason_of(error: BaseException | None) -> str:
    """The cause of a failure in a line without credentials: the network's own error in a chain of errors."""
    link: BaseException | None = error
    # The network's own error says most; requests and MLflow wrap it in vaguer ones.
    while link is not None:
        if isinstance(link, OSError) or type(link).__module__.startswith("urllib3"):
            error = link
        link = link.__cause__ or link.__context__
    lines = [
        line
        for line in str(error).strip().splitlines()
        if line.strip() and not line.startswith(("#####", "(Background"))
    ]
    text = lines[-1] if lines else type(error).__name__
    text = re.sub(r"^\[Errno -?\d+\] |^<[^>]*>: |^[A-Z_]{8,}: ", "", text.strip())
    return without_credentials(text)[:200].rstrip(". ")


def _bounded(work: Callable[[], T], left_s: float, limit_s: float, progress: Callable[[], int] | None) -> T:
    """Run `work` in a thread, because a server that sends a byte a second defeats every other limit."""
    done = threading.Event()
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    # An abandoned call stays in its daemon thread, which doesn't keep the process from ending.
    threading.Thread(target=run, name="mlflow-call", daemon=True).start()
    deadline, seen = time.monotonic() + left_s, 0
    # Wakes each second to look at the progress.
    while not done.wait(max(0.0, min(1.0, deadline - time.monotonic()))):
        if progress is not None and (now := progress()) > seen:
            seen, deadline = now, time.monotonic() + limit_s
        if time.monotonic() >= deadline:
            raise TimeoutError(f"no answer within {limit_s:g} seconds")
    if errors:
        raise errors[0]
    return results[0]


def _settings(limit_s: float, server: str = "") -> AbstractContextManager[None]:
    return mlflow_variables.held(
        {
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # the retries are ours
            "MLFLOW_HTTP_REQUEST_TIMEOUT": str(max(1, min(LONGEST_REQUEST_S, round(limit_s)))),
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            # Files go through the server, whose door is closed to addresses that lead past it.
            "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
            "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
            "MLFLOW_DISABLE_TELEMETRY": QUIET["MLFLOW_DISABLE_TELEMETRY"],
        },
        server,
    )


def shown(uri: str) -> str:
    """A tracking URI for display: without credentials and query.

    >>> shown("http://me:secret@localhost:5000/?token=1")
    'http://localhost:5000/'
    """
    return re.split(r"[?#]", without_credentials(uri), maxsplit=1)[0]
