"""A running MLflow behind its password, for all tests of a process."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator

import psutil
import pytest
from guarded_mlflow import PASSWORD, GuardedMlflow

from wms_ops.machine.answers import wait_for_mlflow
from wms_ops.machine.environment import plain_environ
from wms_ops.machine.mlflow_server import server_environ
from wms_ops.machine.processes import draw_ports, end, find, mark_of, spawn


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
