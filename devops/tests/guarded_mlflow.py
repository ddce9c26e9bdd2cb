"""An MLflow server as an instance runs it: SQLite, files passed through the server, a password."""

from __future__ import annotations

import base64
import hashlib
import http.client
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from wms_ops.machine.answers import wait_for_mlflow
from wms_ops.machine.environment import plain_environ
from wms_ops.machine.mlflow_server import server_environ
from wms_ops.machine.password import USER
from wms_ops.machine.processes import draw_ports, end, find, mark_of, spawn

PASSWORD = "p@ss/w:rd%20"  # noqa: S105 - of the test's own server


@dataclass(frozen=True)
class GuardedMlflow:
    """The server's address, and the folder whose `artifacts` hold all that clients may write."""

    uri: str
    folder: Path

    def send(
        self, method: str, path: str, body: bytes | None = None, *, kind: str = "application/json"
    ) -> tuple[int, str]:
        """Status and text of a request with the right password; the path goes out as it is, byte by byte."""
        connection = http.client.HTTPConnection("127.0.0.1", urlsplit(self.uri).port or 0, timeout=60)
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        try:
            connection.request(method, path, body, {"Content-Type": kind, "Authorization": f"Basic {login}"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        finally:
            connection.close()


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedMlflow]:
    """One server for all tests of a process."""
    folder = tmp_path_factory.mktemp("guarded")
    (port,) = draw_ports(1)
    environ = {**plain_environ(), **server_environ(str(folder / "artifacts"))}
    (folder / "hash").write_text(hashlib.sha256(PASSWORD.encode()).hexdigest())
    server = ["-m", "wms_ops.machine.mlflow_server", "--port", str(port), "--password-hash", "hash"]
    try:
        spawn(
            [sys.executable, *server],
            mark=mark_of(folder),
            role="mlflow",
            folder=folder,
            environ=environ,
            log=folder / "log",
        )
        wait_for_mlflow(f"http://127.0.0.1:{port}", 120, print)
        yield GuardedMlflow(f"http://127.0.0.1:{port}", folder)
    finally:
        left: list[psutil.Process] = end((one.process for one in find(mark_of(folder))), 5)
        assert left == []
