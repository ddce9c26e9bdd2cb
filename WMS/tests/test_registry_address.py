"""A wrong address, certificate or login of the MLflow server is told at once, with what mends it; real servers."""

from __future__ import annotations

import contextlib
import http.server
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from entrance_table import REFUSED, WORKS, Row
from mlflow_runs import log_epochs, sync_to, wait_for
from registry_workshop import Shop
from servers import require_tool

from wms.errors import RegistryError, RegistryUnreachableError, WmsError
from wms.registry.mlflow_store import ModelRegistry
from wms.training import mlflow_sync
from wms.training.tracker import ExperimentTracker

pytest_plugins = ["registry_fixtures"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key, in one file."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=meters"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run([str(require_tool("openssl")), "req", *options, *names], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@contextlib.contextmanager
def answering(
    status: int = 200, body: str = "{}", kind: str = "text/html", certificate: Path | None = None
) -> Iterator[str]:
    """A server that answers all requests alike; yields its host and port."""

    class Same(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Same) as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def refused(uri: str) -> WmsError:
    with pytest.raises(WmsError) as caught:
        ModelRegistry(uri).versions()
    return caught.value


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds for what is repeated; what isn't, ends at once."""
    monkeypatch.setenv("WMS_MLFLOW_TIMEOUT", "2")
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_SERVER_CERT_PATH", "MLFLOW_TRACKING_INSECURE_TLS"):
        monkeypatch.delenv(name, raising=False)


def test_a_self_signed_certificate_names_mlflows_own_variables(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, entrance: Row
) -> None:
    with answering(body='{"registered_models": []}', kind="application/json", certificate=certificate) as place:
        error = refused(f"https://{place}")
        assert type(error) is RegistryError and "self-signed certificate" in str(error)
        assert "MLFLOW_TRACKING_SERVER_CERT_PATH" in str(error) and "MLFLOW_TRACKING_INSECURE_TLS=true" in str(error)
        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", f"{certificate}.crt")  # the advice helps
        assert "certificate" not in str(refused(f"https://{place}"))
        monkeypatch.delenv("MLFLOW_TRACKING_SERVER_CERT_PATH")
        http_error = refused(f"http://{place}")
        assert "write https:// into MLFLOW_TRACKING_URI" in str(http_error)
    with answering() as place:
        plain = refused(f"https://{place}")
        assert type(plain) is RegistryError and "write http:// instead of https://" in str(plain)
    said = "code 96 at once: MLFLOW_TRACKING_SERVER_CERT_PATH"
    entrance("the rest", "MLflow with a self-signed certificate", said, REFUSED)
    entrance("the rest", "http:// of an MLflow that speaks https", f"code 92: {str(http_error)[-90:]}", REFUSED)
    entrance("the rest", "https:// of an MLflow that speaks http", f"code 96: {str(plain)[-70:]}", REFUSED)


OTHERS = {
    "a page of HTML instead of the API": (200, "<html>Login</html>", "text/html", "no login page stands before it"),
    "404 with a page": (404, "<html>Nothing</html>", "text/html", "with the whole path before /api"),
    "404 with FastAPI's JSON": (404, '{"detail": "Not Found"}', "application/json", "with the whole path before /api"),
    "401": (401, "Who?", "text/plain", "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
    "403 for the Host header": (403, "Invalid Host header", "text/plain", "the server's --allowed-hosts"),
    "403 with JSON": (403, '{"message": "No."}', "application/json", "Look into the server's log"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_an_answer_that_is_not_mlflows_ends_the_wait(name: str, entrance: Row) -> None:
    status, body, kind, words = OTHERS[name]
    with answering(status, body, kind) as place:
        error = refused(f"http://{place}")
    assert type(error) is RegistryError and words in str(error)  # not RegistryUnreachableError, after all retries
    entrance("the rest", f"MLflow's address answers {name}", f"code 96: ...{str(error)[-100:]}", REFUSED)


def test_a_path_that_a_real_mlflow_does_not_have(shop: Shop, entrance: Row) -> None:
    error = refused(f"{shop.uri}/forgotten")
    assert type(error) is RegistryError and "with the whole path before /api" in str(error)
    entrance("the rest", "a real MLflow under a wrong path", f"code 96 at once: ...{str(error)[-100:]}", REFUSED)


def test_a_wrong_password_and_a_dead_proxy(monkeypatch: pytest.MonkeyPatch, entrance: Row) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ana")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "no")
    with answering(401, "Who?") as place:
        assert "Correct MLFLOW_TRACKING_USERNAME" in str(refused(f"http://{place}"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    error = refused("http://mlflow.example.org:5000")
    assert type(error) is RegistryUnreachableError and "or name the server's host in NO_PROXY" in str(error)
    entrance("the rest", "MLflow behind a dead proxy", f"code 92: ...{str(error)[-100:]}", REFUSED)


SLOW_IMPORT = """
import importlib.abc, sys, time
class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "mlflow.tracking":
            time.sleep(2.5)  # longer than the limit for the server
sys.meta_path.insert(0, Slow())
from wms.registry.mlflow_calls import call
def work():
    import mlflow.tracking
    return "answered"
print(call("http://127.0.0.1:1", "asking", work))
"""


def test_the_clients_own_import_is_not_the_servers_silence(entrance: Row) -> None:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "WMS_MLFLOW_TIMEOUT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SLOW_IMPORT], env=environ, capture_output=True, text=True, timeout=150, check=False
    )
    assert (done.returncode, done.stdout) == (0, "answered\n"), done.stderr
    entrance("the rest", "MLflow's import takes longer than its server may", "the answer counts, not the import", WORKS)


def test_a_server_that_hangs_is_told_while_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, entrance: Row
) -> None:
    monkeypatch.setattr(mlflow_sync, "SILENT_S", 0.2)  # requests end after 30 s only, long after the wait below
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sync = sync_to(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path / "run")
        with ExperimentTracker(tmp_path / "run", sync) as tracker:
            wait_for(lambda: "takes nothing now (no answer for 0.2 seconds). Training goes on" in caplog.text)
            log_epochs(tracker, range(1))
            report = sync.finish("FINISHED", 0.2)
    assert (report.pending, report.error) == (5, "no answer for 0.2 seconds")
    entrance("the rest", "train.py, MLflow takes the connection and hangs", "said after 5 s; the run goes on", WORKS)
