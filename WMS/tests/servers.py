"""Real servers on loopback for tests, a gateway that misbehaves on demand, and the rule for missing tools."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

import psutil
import pytest

from wms.settings import CheckSettings

START_TIMEOUT_S = 120.0  # An MLflow server takes about 10 s to start, far more on a machine that is busy.


def cannot_test(reason: str) -> NoReturn:
    """Skip the test, as a laptop may lack much; where WMS_REQUIRE_TOOLS is set, fail it."""
    if CheckSettings.read().wms_require_tools:
        pytest.fail(f"{reason}, and WMS_REQUIRE_TOOLS is set")
    pytest.skip(reason)


def require_tool(name: str, *places: Path) -> Path:
    """The program `name`, beside Python, on PATH or one of `places`; without it the test can't run."""
    beside = Path(sys.executable).parent / name
    on_path = shutil.which(name)
    for found in (beside, *([Path(on_path)] if on_path else []), *places):
        if found.is_file():
            return found
    cannot_test(f"{name} isn't installed; install it and run this again")


def free_port() -> int:
    """A TCP port on loopback that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class MlflowServer:
    """An MLflow server over SQLite in `folder`, or over another `backend` that SQLAlchemy knows.

    `artifacts` is the place of its files, such as s3://BUCKET/PREFIX, for which `environ` has keys. `start` after
    `kill` goes on with the same data and port.
    """

    artifacts = ""
    environ: Mapping[str, str] = MappingProxyType({})

    def __init__(self, folder: Path, port: int | None = None, backend: str | None = None) -> None:
        self.folder = folder
        self.backend = backend or f"sqlite:///{folder / 'mlflow.db'}"
        self.port = port or free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: psutil.Popen | None = None

    def start(self) -> None:
        """Start the server and return once an API call is answered; RuntimeError with its log otherwise."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [
            *(sys.executable, "-m", "mlflow", "server"),
            *("--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"),
            *("--backend-store-uri", self.backend),
            *("--artifacts-destination", self.artifacts or str(self.folder / "artifacts")),
        ]
        quiet = {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        with self.log.open("ab") as log:
            self.process = psutil.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, **quiet, **self.environ},
                start_new_session=True,
            )
        self._wait()

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    def kill(self) -> None:
        """SIGKILL the server with all its processes, and wait until they are gone."""
        if self.process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            family = [*self.process.children(recursive=True), self.process]
            for member in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
            psutil.wait_procs(family, timeout=30)
        self.process = None

    def _wait(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError):  # includes URLError and time-outs
                url = f"{self.uri}/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"
                with urllib.request.urlopen(url, timeout=5):  # noqa: S310 (a fixed http address)
                    return
            time.sleep(0.2)
        self.kill()
        raise RuntimeError(f"The MLflow server didn't start:\n{self.log.read_text()[-4000:]}")


@contextlib.contextmanager
def mlflow_server(folder: Path, port: int | None = None, backend: str | None = None) -> Iterator[MlflowServer]:
    """A running MLflow server with `.uri`, `.kill()` and `.start()`; no process of it is left at the end."""
    server = MlflowServer(folder, port, backend)
    try:
        server.start()
        yield server
    finally:
        server.kill()


class Gateway:
    """An HTTP gateway in front of another server, which it reaches only while `refuse_with` is None.

    `refuse_with` is the status that answers every request, with `refuse_only` those whose path contains one of its
    words. Requests whose path contains one of the words in
    `lose` are passed on, but the connection is broken instead of answering.
    """

    def __init__(self, target_port: int) -> None:
        self.refuse_with: int | None = None
        self.refuse_only: tuple[str, ...] = ()
        self.lose: tuple[str, ...] = ()
        self.refused: list[str] = []  # paths
        self.lost: list[str] = []
        self.target_port = target_port
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self.server.server_port}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                chosen = not gateway.refuse_only or any(word in self.path for word in gateway.refuse_only)
                if gateway.refuse_with is not None and chosen:
                    gateway.refused.append(self.path)
                    self.send_error(gateway.refuse_with)
                    return
                upstream = http.client.HTTPConnection("127.0.0.1", gateway.target_port, timeout=60)
                headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
                upstream.request(self.command, self.path, body, headers)
                answer = upstream.getresponse()
                content = answer.read()
                upstream.close()
                if any(word in self.path for word in gateway.lose):
                    gateway.lost.append(self.path)
                    return
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.getheader("Content-Type", "application/json"))
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = _serve

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


@contextlib.contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    """Let a server answer from a thread of its own during the `with` block."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@contextlib.contextmanager
def gateway(target_port: int) -> Iterator[Gateway]:
    """A running gateway in front of a port on loopback."""
    front = Gateway(target_port)
    with serving(front.server):
        yield front
