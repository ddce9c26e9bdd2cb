"""Waiting until the MLflow server of an instance answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from wms.errors import RegistryUnreachableError
from wms.registry.mlflow_calls import without_credentials
from wms_ops.base.poll import poll
from wms_ops.machine.instance import probe_mlflow

_PAUSE_S: Final = 1.0
_REPORT_S: Final = 10.0


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
