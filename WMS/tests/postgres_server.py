"""A real PostgreSQL server on loopback for tests, and an MLflow server that keeps its records there."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from servers import START_TIMEOUT_S, MlflowServer, cannot_test, free_port, mlflow_server, require_tool

OWNER = "postgres"  # the account that Debian's package makes; the server refuses to run as root


def _program(name: str) -> str:
    """A program of PostgreSQL, which Debian keeps away from PATH."""
    if importlib.util.find_spec("pg8000") is None:
        cannot_test("pg8000 isn't installed")
    return str(require_tool(name, *sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)))


def _as_owner() -> list[str]:
    """What runs a program as the account that may run PostgreSQL, and lets it end with the tests."""
    if os.geteuid() != 0:
        setpriv = shutil.which("setpriv")
        return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
    return [
        str(require_tool("setpriv")),
        f"--reuid={OWNER}",
        f"--regid={OWNER}",
        "--clear-groups",
        "--pdeathsig=KILL",
        "--",
    ]


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
            try:
                shutil.chown(self.folder, OWNER, OWNER)
            except LookupError:
                cannot_test(f"root can't run PostgreSQL, and there is no account `{OWNER}`")
        make = [initdb, "-D", str(data), "-U", OWNER, "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run([*_as_owner(), *make], check=True, capture_output=True, cwd=self.folder)
        settings = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off")
        command = [*_as_owner(), server, "-D", str(data), "-p", str(self.port)]
        command += [part for setting in settings for part in ("-c", setting)]
        with (self.folder / "server.log").open("ab") as log:
            self.process = psutil.Popen(command, stdout=log, stderr=log, cwd=self.folder, start_new_session=True)
        self._wait()

    def _wait(self) -> None:
        from pg8000 import dbapi

        assert self.process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(dbapi.Error):
                dbapi.connect(OWNER, host="127.0.0.1", port=self.port, database=OWNER, timeout=5).close()
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


@contextlib.contextmanager
def mlflow_on_postgres(folder: Path) -> Iterator[MlflowServer]:
    """A running MLflow server over a running PostgreSQL server; neither process nor folder is left at the end."""
    # Not in pytest's folder: that is closed to all but its owner.
    home = Path(tempfile.mkdtemp(prefix="wms-postgres-"))
    home.chmod(0o755)
    database = PostgresServer(home)
    try:
        database.start()
        with mlflow_server(folder, backend=f"postgresql+pg8000://{database.address}") as server:
            yield server
    finally:
        database.kill()
        shutil.rmtree(home, ignore_errors=True)
