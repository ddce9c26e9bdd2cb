"""The instance's two public ports: HAProxy in a unit of its own, with limits, time-outs and TLS before MLflow.

Whatever connections cost, they cost HAProxy: the agent with its timers, backups and jobs has no port. Versions of the
model change behind the door without a moment in which no process listens.
"""

from __future__ import annotations

import contextlib
import csv
import os
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from wms.files import write_atomic
from wms_ops.base.errors import CloudError
from wms_ops.base.poll import poll
from wms_ops.machine.certificate import make_certificate
from wms_ops.targets.host.units import User, control, own_folder, show_file, shown_folder

UNIT: Final = "wms-door"
PER_ADDRESS: Final = 64
"""Connections that one address may hold at both ports together; a browser holds six, a training four."""

_SOCKET: Final = "run/admin.sock"
_CERTIFICATE: Final = "mlflow.pem"
_START_S: Final = 30.0
_ANSWER_S: Final = 5.0
_MOST: Final = 2**20
_CONFIG: Final = """\
global
    maxconn 1200
    nbthread 1
    log stderr format raw local0 warning
    stats socket unix@{socket} mode 600 level admin
    stats timeout 10s
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets

defaults
    mode http
    log global
    option dontlognull
    # Each request is counted and limited by itself, and a stopped version keeps no connection.
    option http-server-close
    # A client that leaves gives up its place in the queue.
    option abortonclose
    timeout connect 5s
    timeout http-request 10s
    timeout http-keep-alive 15s
    timeout client 60s
    timeout queue 30s
    # A large file on its way to S3.
    timeout server 10m

backend addresses
    stick-table type ipv6 size 20k expire 1m store conn_cur

frontend mlflow
    bind {bind}:{mlflow_port} ssl crt {certificate} proto h1
    maxconn 500
    tcp-request connection track-sc0 src table addresses
    tcp-request connection reject if {{ sc0_conn_cur gt {per_address} }}
    http-request del-header x-forwarded- -m beg
    http-request del-header forwarded
    default_backend mlflow

frontend service
    bind {bind}:{service_port} proto h1
    maxconn 500
    tcp-request connection track-sc0 src table addresses
    tcp-request connection reject if {{ sc0_conn_cur gt {per_address} }}
    http-request del-header x-forwarded- -m beg
    http-request del-header forwarded
    default_backend service

backend mlflow
    server current 127.0.0.1:{inner_port} maxconn 64

backend service
    timeout server 2m
    # A photo takes a place at the service once its first 16 KiB have come, within the time for a request.
    option http-buffer-request
    http-error status 503 content-type text/plain string "No model is served here yet.\\n"
    server current 127.0.0.1:1 maxconn 64 disabled
"""


@dataclass
class Door:
    """The door of one instance; `folder` holds its configuration, and `user` runs HAProxy."""

    folder: Path
    bind: str
    mlflow_port: int
    service_port: int
    user: User
    last_used: float = 0.0
    """Seconds since 1970 of the last time that `look` saw new requests for the service."""

    _requests: int | None = field(default=None, repr=False)

    def certificate(self, address: str | None) -> str:
        """MLflow's certificate as PEM: the one from before the agent's last end, or a new one for this public IP."""
        shown_folder(self.folder, self.user)
        path = self.folder / _CERTIFICATE
        if not path.exists():
            show_file(path, "".join(reversed(make_certificate([address] if address else []))), self.user)
        return path.read_text(encoding="ascii").partition("-----BEGIN PRIVATE")[0]

    def open(self, inner_port: int) -> None:
        """Begin to listen; MLflow is behind the door at `inner_port`. `certificate` comes first.

        Raises CloudError for ports in use.
        """
        own_folder(self.folder / "run", self.user)
        text = _CONFIG.format(
            bind=self.bind,
            mlflow_port=self.mlflow_port,
            service_port=self.service_port,
            inner_port=inner_port,
            per_address=PER_ADDRESS,
            socket=_SOCKET,
            certificate=_CERTIFICATE,
        )
        config = self.folder / "haproxy.cfg"
        write_atomic(config, text)
        config.chmod(0o644)
        control("restart", UNIT)
        if not poll(lambda: self._requests_so_far() is not None, _START_S):
            raise CloudError(
                f"The door doesn't open: HAProxy doesn't answer within {_START_S:.0f} s; look at `journalctl -u "
                f"{UNIT}` whether another program has port {self.mlflow_port} or {self.service_port}."
            )

    def aim(self, port: int | None) -> None:
        """Lead the service's port to a version at `port` of loopback, or to none; without a door, do nothing."""
        where = f"set server service/current addr 127.0.0.1 port {port}; " if port else ""
        self._ask(f"{where}set server service/current state {'ready' if port else 'maint'}")

    def look(self) -> None:
        """Note whether requests for the service have come since the last look."""
        found = self._requests_so_far()
        if self._requests is not None and found is not None and found != self._requests:
            self.last_used = time.time()
        self._requests = found

    def _requests_so_far(self) -> int | None:
        """The number of requests for the service since HAProxy's start; None without an answer."""
        said = self._ask("show stat service 1 -1")
        for row in csv.DictReader(said.lstrip("# ").splitlines()):
            if (row.get("pxname"), row.get("svname")) == ("service", "FRONTEND"):
                with contextlib.suppress(TypeError, ValueError):
                    return int(row["req_tot"])
        return None

    def _ask(self, command: str) -> str:
        """HAProxy's answer; empty if none comes."""
        try:
            folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return ""
        try:
            with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
                connection.settimeout(_ANSWER_S)
                # By the folder's descriptor, because a socket's name may have 107 bytes only.
                connection.connect(f"/proc/self/fd/{folder}/{_SOCKET}")
                connection.sendall(f"{command}\n".encode())
                said = b""
                while len(said) < _MOST and (block := connection.recv(65536)):
                    said += block
                return said.decode("utf-8", "replace")
            return ""
        finally:
            os.close(folder)
