"""Clients that hold connections at an instance's two ports: backups, signs of life and other clients go on."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

import pytest
from entrance_table import WORKS, Row
from host_shop import EXPERIMENTS, Launch, World
from http_in_thread import HttpInThread

from wms_ops.targets.host.door import PER_ADDRESS, Door

pytest_plugins = ["host_fixtures", "door_fixtures"]

ATTACKER = "127.0.0.2"  # another address than that of the tests' other clients
FILES = 1024  # what systemd gives a unit that asks for nothing
IDLE, SLOW = 1100, 50
STOPPED = "limits of the door"


@pytest.fixture
def many_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, before[1]), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def connect(port: int, address: str = ATTACKER) -> socket.socket:
    connection = socket.socket()
    connection.bind((address, 0))
    connection.settimeout(5)
    connection.connect(("127.0.0.1", port))
    return connection


@contextlib.contextmanager
def held(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Connections that send nothing; those that are refused are let go."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            with contextlib.suppress(OSError):
                found.append(stack.enter_context(connect(port)))
        yield found


@pytest.mark.parametrize("name", ["service_port", "mlflow_port"])
@pytest.mark.attack(
    "someone at ports 5000 and 8000",
    "1,100 idle connections",
    "HAProxy's limits, apart from the agent",
)
def test_idle_connections_starve_neither_the_agent_nor_other_clients(
    world: World, host: Launch, many_files: None, name: str, entrance: Row
) -> None:
    agent = host.machine.agent()
    assert agent is not None
    agent.rlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    with held(getattr(host, name), IDLE):
        before = host.queue.alive()
        assert before is not None
        note = host.queue.backup()
        assert host.objects.facts(note.key) is not None
        world.hypervisor.wait(lambda: (alive := host.queue.alive()) and alive.beat > before.beat, "a sign of life", 15)
        assert host.ask(f"{EXPERIMENTS}/search", {"max_results": 1})[0] == 200
        assert answer_of(host.service_port, "GET /version").startswith(b"HTTP/1.1 ")
    assert "Too many open files" not in host.machine.log("wms-host")
    entrance("the rest", f"{IDLE} idle connections at {name}", "backup, sign of life, other clients go on", STOPPED)


def answer_of(port: int, asked: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(f"{asked} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(4096), b""))


@pytest.mark.parametrize("name", ["service_port", "mlflow_port"])
@pytest.mark.attack("someone at ports 5000 and 8000", "50 headers that never end", "HAProxy's time limit")
def test_headers_that_never_end_are_given_up(host: Launch, name: str, entrance: Row) -> None:
    began = time.monotonic()
    with held(getattr(host, name), SLOW) as slow:
        left = set(slow)
        while left and time.monotonic() - began < 25:
            for connection in list(left):
                try:
                    connection.sendall(b"x" if connection in left else b"")
                    connection.setblocking(False)
                    if not connection.recv(1000):
                        left.discard(connection)
                except BlockingIOError:
                    continue
                except OSError:
                    left.discard(connection)
            time.sleep(0.2)  # an attacker's own pace, a byte at a time
        assert not left
    entrance("the rest", f"{SLOW} slow headers at {name}", "closed after 10 s", STOPPED)


def test_the_port_answers_head_without_a_body_before_a_model_is_served(door: Door, entrance: Row) -> None:
    get, head = (answer_of(door.service_port, f"{method} /health").partition(b"\r\n\r\n") for method in ("GET", "HEAD"))
    assert get[0].startswith(b"HTTP/1.1 503 ") and get[2] == b"No model is served here yet.\n"
    assert head == (get[0], b"\r\n\r\n", b"")
    entrance("the rest", "HEAD /health on an instance without a model", "503 and GET's headers, no body", WORKS)


class Echo(BaseHTTPRequestHandler):
    """A server that answers with the request's own head."""

    def do_GET(self) -> None:
        """Answer."""
        body = f"{self.requestline}\n{self.headers}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Port", str(self.connection.getsockname()[1]))
        self.end_headers()
        self.wfile.write(body)


def test_the_door_follows_versions_and_tells_of_use(door: Door) -> None:
    door.look()
    assert door.last_used == 0
    with HttpInThread(Echo) as one, HttpInThread(Echo) as two:
        for server in (one, two, one):
            port = urlsplit(server.url).port
            door.aim(port)
            assert f"x-port: {port}\r\n".encode() in answer_of(door.service_port, "GET /")
    door.aim(None)
    assert b" 503 " in answer_of(door.service_port, "GET /")
    door.look()
    assert time.time() - door.last_used < 60
    with socket.create_connection(("127.0.0.1", door.service_port)):  # a port scan is no use
        before = door.last_used
        door.look()
    assert door.last_used == before


@pytest.mark.attack("someone at ports 5000 and 8000", "forged X-Forwarded-For", "dropped by the door")
def test_a_client_cant_say_that_it_is_on_this_machine(door: Door) -> None:
    """MLflow opens routes to clients on its own machine, and a server may believe what a header says of a client."""
    lines = "GET / HTTP/1.1\r\nX-Forwarded-For: 127.0.0.1\r\nForwarded: for=127.0.0.1\r\nX-Other: x\r\nX:"
    with HttpInThread(Echo) as server:
        door.aim(urlsplit(server.url).port)
        said = answer_of(door.service_port, lines).lower()
    assert b"x-other" in said and b"forwarded" not in said


class Reader(Echo):
    """A server that reads a photo before it answers."""

    def do_POST(self) -> None:
        """Read, then answer."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()


@pytest.mark.attack("someone at ports 5000 and 8000", "64 photos that come a byte at a time", "held by the door")
def test_slow_photos_take_no_place_behind_the_door(door: Door) -> None:
    start = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
    with HttpInThread(Reader) as server:
        door.aim(urlsplit(server.url).port)
        with held(door.service_port, PER_ADDRESS) as slow:
            for connection in slow:
                connection.sendall(start)
                connection.sendall(b"x")
            assert answer_of(door.service_port, "GET /health").startswith(b"HTTP/1.0 200 ")
            with connect(door.service_port, "127.0.0.1") as fast:
                fast.sendall(start + b"x" * 100_000)
                assert fast.recv(4096).startswith(b"HTTP/1.0 200 ")
