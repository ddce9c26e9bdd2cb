"""MLflow's password goes to the instance's own server over TLS, and to nobody in between."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from aws_server import REGION
from entrance_table import WORKS, Row
from guarded_mlflow import PASSWORD, GuardedMlflow
from host_shop import World

from wms.errors import RegistryError
from wms.registry.mlflow_store import ModelRegistry
from wms_ops.base.errors import CloudError
from wms_ops.machine.answers import why_silent
from wms_ops.machine.certificate import make_certificate
from wms_ops.machine.environment import tracking_address
from wms_ops.machine.password import USER
from wms_ops.storage.names import Names
from wms_ops.targets.aws.certificate import NoCertificateError, certificate_file, mlflow_answers
from wms_ops.targets.host.door import Door

pytest_plugins = ["guarded_fixtures", "door_fixtures", "host_fixtures"]

STOPPED = "the pinned certificate"
FIRST, SECOND = "20261128-100000-ab12cd", "20261128-120000-ef34ab"


@pytest.fixture
def secure(guarded: GuardedMlflow, door: Door) -> tuple[str, str]:
    """The address of MLflow behind a door, and the door's certificate."""
    door.open(urlsplit(guarded.uri).port or 0)
    return f"https://127.0.0.1:{door.mlflow_port}", door.certificate(None)


class Between:
    """Someone between client and server, who shows a certificate of their own and reads what comes."""

    def __init__(self, folder: Path) -> None:
        self.heard: list[str] = []
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    heard.append(self.rfile.readline().decode("latin-1"))

        both = folder / "between.pem"
        both.write_text("".join(make_certificate(["192.0.2.7"])))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(both)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign] - a client that hangs up
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.uri = f"https://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def between(tmp_path: Path) -> Iterator[Between]:
    found = Between(tmp_path)
    thread = Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


def led(folder: Path, pem: str) -> dict[str, str]:
    """What `wms cloud environ` prints, but for the address."""
    path = folder / "pinned.pem"
    path.write_text(pem)
    return {
        "MLFLOW_TRACKING_USERNAME": USER,
        "MLFLOW_TRACKING_PASSWORD": PASSWORD,
        "MLFLOW_TRACKING_SERVER_CERT_PATH": str(path),
    }


def test_clients_reach_mlflow_over_tls(secure: tuple[str, str], tmp_path: Path, entrance: Row) -> None:
    uri, pem = secure
    before = dict(os.environ)
    assert ModelRegistry(tracking_address(led(tmp_path, pem), uri), model="none").versions() == ()
    assert why_silent(uri) is None
    assert dict(os.environ) == before
    entrance("MLflow", "a client with the instance's certificate", "works over https", WORKS)


@pytest.mark.attack(
    "someone at ports 5000 and 8000",
    "a man in the middle with another certificate",
    "the pinned certificate",
)
def test_a_man_in_the_middle_gets_no_password(
    between: Between, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entrance: Row
) -> None:
    variables = led(tmp_path, make_certificate(["192.0.2.7"])[1])
    with pytest.raises(
        RegistryError, match=r"shows another certificate .* got no password: .* another machine"
    ) as told:
        ModelRegistry(tracking_address(variables, between.uri)).versions()
    assert "\n" not in str(told.value) and PASSWORD not in str(told.value)
    assert "CERTIFICATE_VERIFY_FAILED" in str(why_silent(between.uri))
    for name, value in variables.items():  # a shell that has read `wms cloud environ`
        monkeypatch.setenv(name, value)
    with pytest.raises(RegistryError, match="shows another certificate"):
        ModelRegistry(between.uri).versions()
    assert not [line for line in between.heard if line.strip()]
    entrance("MLflow", "a man in the middle with a certificate of his own", "one sentence, hears nothing", STOPPED)


def test_an_instances_certificate_counts_for_its_launch(world: World, between: Between, tmp_path: Path) -> None:
    names = Names("tls", "123456789012", REGION)
    context: Any = SimpleNamespace(names=names, folder=tmp_path, aws=SimpleNamespace(ssm=world.aws.client("ssm")))
    with pytest.raises(NoCertificateError, match="hasn't shown MLflow's certificate yet"):
        certificate_file(context, FIRST)
    assert not mlflow_answers(context, FIRST, between.uri)
    ssm = context.aws.ssm
    pems = {launch: make_certificate([])[1] for launch in (FIRST, SECOND)}
    for launch, pem in pems.items():
        value = f'{{"launch_id": "{launch}", "pem": "{pem}"}}'.replace("\n", "\\n")
        ssm.put_parameter(Name=names.certificate_parameter, Value=value, Type="String", Overwrite=True)
        path = certificate_file(context, launch)
        assert path.read_text() == pem and path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(NoCertificateError):
            certificate_file(context, "20261128-140000-000000")
    assert [path.read_text() for path in tmp_path.glob("tls-*.pem")] == [pems[SECOND]]
    with pytest.raises(CloudError, match=r"can't be used\. It shows another certificate"):
        mlflow_answers(context, SECOND, between.uri)
    ssm.put_parameter(Name=names.certificate_parameter, Value="x", Type="String", Overwrite=True)
    with pytest.raises(CloudError, match="holds no certificate"):
        certificate_file(context, FIRST)
    assert not between.heard


@pytest.mark.attack("someone at ports 5000 and 8000", "plain HTTP to MLflow", "TLS only")
def test_the_door_speaks_no_plain_http_to_those_who_have_a_password(door: Door) -> None:
    with socket.create_connection(("127.0.0.1", door.mlflow_port), timeout=30) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP/" not in connection.recv(1000)
