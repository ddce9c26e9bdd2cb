"""The environment variables that MLflow's client needs while working for this project.

The client reads time limits, proxies and progress bars from the environment only.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from wms.loopback import past_proxies
from wms.settings import LoginSettings

CERTIFICATE: Final = "MLFLOW_TRACKING_SERVER_CERT_PATH"

_lock = threading.Lock()
_users = 0
_before: dict[str, str | None] = {}
_trusted: dict[str, str] = {}


def trust(uri: str, certificate: Path | str) -> None:
    """Accept from now on, as the server at `uri`, only the one with the certificate in this file."""
    _trusted[_server_of(uri)] = str(certificate)


def certificate_of(uri: str) -> str | None:
    """The file of the certificate to accept from the server at `uri`: told to `trust`, else the user's own setting."""
    return _trusted.get(_server_of(uri)) or LoginSettings.read().mlflow_tracking_server_cert_path or None


def _server_of(uri: str) -> str:
    return urlsplit(uri).netloc.rpartition("@")[2].lower()


def acquire(wanted: Mapping[str, str], server: str = "") -> None:
    """Set those `wanted` variables that the user hasn't set; each call needs a matching `release`.

    Meanwhile, no proxy stands before a server on this machine, whichever proxy the user's shell names, and the
    certificate of a trusted `server` counts.
    """
    global _users  # noqa: PLW0603 (the environment is one for the whole process, and so is this count)
    with _lock:
        _users += 1
        ours = {name: value for name, value in wanted.items() if name not in os.environ}
        pinned = {CERTIFICATE: found} if (found := _trusted.get(_server_of(server))) else {}
        for name, value in (ours | past_proxies(os.environ) | pinned).items():
            # Only the outermost call sees the user's values; a nested call must not remember ours.
            _before.setdefault(name, os.environ.get(name))
            os.environ[name] = value


def release() -> None:
    """Restore the former variables once the last call that needs them is over."""
    global _users  # noqa: PLW0603
    with _lock:
        _users -= 1
        if _users == 0:
            for name, value in _before.items():
                os.environ.pop(name, None)
                os.environ.update({} if value is None else {name: value})
            _before.clear()


@contextmanager
def held(wanted: Mapping[str, str], server: str = "") -> Iterator[None]:
    """`acquire` at the beginning of the `with` block, `release` at its end."""
    acquire(wanted, server)
    try:
        yield
    finally:
        release()
