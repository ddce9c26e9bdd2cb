"""Tells a wrong address, certificate or login of an MLflow server from a server that doesn't answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from wms.loopback import scheme_of
from wms.settings import LoginSettings

_TRUST: Final = (
    "Set MLFLOW_TRACKING_SERVER_CERT_PATH to the file of the server's certificate or of its authority, or, on a "
    "network that you trust, MLFLOW_TRACKING_INSECURE_TLS=true."
)
OTHER_CERTIFICATE: Final = (
    "It shows another certificate than the one that is expected, and got no password: the instance was started anew "
    "(run `wms cloud environ` again), or another machine answers in its place."
)
_DATE: Final = "Ask the server's operator to renew its certificate, or set this machine's clock."
_NAME: Final = "Write the host into MLFLOW_TRACKING_URI as the certificate names it."
_PLAIN: Final = "The server speaks http: write http:// instead of https:// in MLFLOW_TRACKING_URI."
_SECURE: Final = "Write https:// instead of http:// in MLFLOW_TRACKING_URI."
_NO_API: Final = (
    "Check that MLFLOW_TRACKING_URI names an MLflow server with the whole path before /api, such as "
    "https://HOST/mlflow, and that no login page stands before it."
)
_WRONG: Final = (
    (r"certificate has expired|certificate is not yet valid", _DATE),
    (r"Hostname mismatch|IP address mismatch|doesn't match", _NAME),
    (r"CERTIFICATE_VERIFY_FAILED", _TRUST),
    (r"WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|HTTP_REQUEST", _PLAIN),
    (r"(?i)plain HTTP request was sent to HTTPS port", _SECURE),
    (r"not in a valid JSON format|error code (?:3\d\d|404) |'detail': 'Not Found'", _NO_API),
)


def wrong_address(error: Exception) -> str:
    """The remedy for an error that no repetition mends, because address or certificate is wrong; "" for others."""
    said = "\n".join(str(link) for link in _links(error))
    hint = next((hint for pattern, hint in _WRONG if re.search(pattern, said)), "")
    if hint == _TRUST and LoginSettings.read().mlflow_tracking_server_cert_path:
        return OTHER_CERTIFICATE
    return hint


def perhaps(server: str, error: Exception) -> str:
    """The remedy for a server that can't be reached, where the error tells a likely reason; else ""."""
    said = "\n".join(f"{type(link).__name__} {link}" for link in _links(error))
    if re.search(r"ProxyError|[Cc]annot connect to proxy|Tunnel connection failed", said):
        return "A proxy is in between: correct HTTP_PROXY or HTTPS_PROXY, or name the server's host in NO_PROXY."
    if scheme_of(server) == "http" and re.search(r"ConnectionReset|RemoteDisconnected|reset by peer", said):
        return "If the server speaks https, write https:// into MLFLOW_TRACKING_URI; else look into the server's log."
    return ""


def of_status(status: int) -> str:
    """The remedy for an answer with this HTTP status."""
    if status == 401:
        own = LoginSettings.read().mlflow_tracking_username
        return f"{'Correct' if own else 'Set'} MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
    return {
        403: "Ask for the right to do it, or look at the server's --allowed-hosts.",
        405: _NO_API,
    }.get(status, "Look into the server's log.")


def _links(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
