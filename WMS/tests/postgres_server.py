"""A real PostgreSQL server on loopback for tests, and an MLflow server that keeps its records there."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from servers import START_TIMEOUT_S, MlflowServer, free_port

OWNER = "postgres"  # the account that Debian's package makes; the server refuses to run as root


def _program(name: str) -> str:
    """A program of PostgreSQL; without it the test is skipped, where WMS_REQUIRE_TOOLS is set it fails."""
    beside = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(beside[-1]) if beside else None)
    if found is None or importlib.util.find_spec("psycopg2") is None:
        missing = name if found is None else "psycopg2"
        if os.environ.get("WMS_REQUIRE_TOOLS"):
            pytest.fail(f"{missing} isn't installed, and WMS_REQUIRE_TOOLS is set")
        pytest.skip(f"{missing} isn't installed")
    return found


def _as_owner() -> list[str]:
    """What runs a program as the account that may run PostgreSQL, and lets it end with the tests."""
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0:
        return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
    return [setpriv or "setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--clear-groups", "--pdeathsig=KILL", "--"]


class PostgresServer:
    """A PostgreSQL server in `folder`, which its owner must be able to reach; it trusts everybody on loopback."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.address = f"{OWNER}@127.0.0.1:{self.port}/{OWNER}"
        self.process: psutil.Popen | None = None

    def start(self) -> None:
        """Make the database, start the server and return once it takes connections."""
        data = self.folder / "data"
        server, initdb = _program("postgres"), _program("initdb")
        if os.geteuid() == 0:
            shutil.chown(self.folder, OWNER, OWNER)
        make = [initdb, "-D", str(data), "-U", OWNER, "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run([*_as_owner(), *make], check=True, capture_output=True, cwd=self.folder)
        settings = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off")
        command = [*_as_owner(), server, "-D", str(data), "-p", str(self.port)]
        command += [part for setting in settings for part in ("-c", setting)]
        with (self.folder / "server.log").open("ab") as log:
            self.process = psutil.Popen(command, stdout=log, stderr=log, cwd=self.folder, start_new_session=True)
        self._wait()

    def _wait(self) -> None:
        import psycopg2

        assert self.process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(psycopg2.OperationalError):
                psycopg2.connect(f"postgresql://{self.address}", connect_timeout=5).close()
                return
            time.sleep(0.1)
        raise RuntimeError(f"PostgreSQL didn't start:\n{(self.folder / 'server.log').read_text()[-4000:]}")

    def kill(self) -> None:
        """Stop the server at once, with all its processes."""
        if self.process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                family = [self.process, *self.process.children(recursive=True)]
                for member in family:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        member.kill()
                psutil.wait_procs(family, timeout=30)
            self.process = None


class MlflowOnPostgres(MlflowServer):
    """An MLflow server over PostgreSQL."""

    def __init__(self, folder: Path, backend: str) -> None:
        super().__init__(folder)
        self.backend = backend

    def start(self) -> None:
        """Start the server and return once an API call is answered."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", self.backend]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        environ = {**os.environ, **quiet, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with self.log.open("ab") as log:
            self.process = psutil.Popen(
                command, stdout=log, stderr=log, cwd=self.folder, env=environ, start_new_session=True
            )
        self._wait()


@contextlib.contextmanager
def mlflow_on_postgres(folder: Path) -> Iterator[MlflowServer]:
    """A running MLflow server over a running PostgreSQL server; neither process nor folder is left at the end."""
    # Not in pytest's folder: that is closed to all but its owner.
    home = Path(tempfile.mkdtemp(prefix="wms-postgres-"))
    home.chmod(0o755)
    database = PostgresServer(home)
    try:
        database.start()
        server = MlflowOnPostgres(folder, f"postgresql+psycopg2://{database.address}")
        try:
            server.start()
            yield server
        finally:
            server.kill()
    finally:
        database.kill()
        shutil.rmtree(home, ignore_errors=True)
