"""Attacks by connections: idle, slow, unread, left. The service answers others meanwhile and forgets the attackers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from serving_workshop import ServiceProcess, photo, running

from wms.serving.app import create_app
from wms.serving.arrivals import Arrivals
from wms.serving.connections import MOST_CONNECTIONS
from wms.serving.limits import RequestLimits
from wms.serving.refusals import Refusal
from wms.serving.service import Service

pytest_plugins = ["serving_fixtures"]

HURRY = """
import wms.serving.connections as connections
connections.HEAD_SECONDS = connections.READ_SECONDS = connections._CLOSING_SECONDS = 1.0
"""
BODY = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n' + photo() + b"\r\n--b--\r\n"
FORM = b"Host: x\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\n\r\n" % len(BODY)
PATIENCE_S = 60


@pytest.fixture(scope="module")
def service(promoted: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service whose deadlines for clients are a second."""
    log = tmp_path_factory.mktemp("service") / "log"
    with running(promoted, log, "--threads", "1", before=HURRY) as process:
        yield process
        assert "Traceback" not in log.read_text()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)  # a poll's pause


@contextlib.contextmanager
def connections(service: ServiceProcess, count: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        where = ("127.0.0.1", service.port)
        yield [stack.enter_context(socket.create_connection(where, timeout=PATIENCE_S)) for _ in range(count)]


def is_closed(connection: socket.socket) -> bool:
    """Whether the server has closed a connection, of which all that came is read."""
    connection.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        try:
            while connection.recv(65536):
                pass
        except OSError as error:
            if isinstance(error, BlockingIOError):
                raise
        return True
    return False


def dripping(connection: socket.socket, drop: bytes) -> bool:
    """Whether the server has closed a connection in spite of another drop."""
    with contextlib.suppress(OSError):
        connection.send(drop)
    return is_closed(connection)


def healthy(service: ServiceProcess) -> bool:
    return all(
        httpx.get(f"{service.url}/{page}", timeout=PATIENCE_S).status_code == 200 for page in ("health", "metrics")
    )


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"GET /health HTTP/1.1\r\nX-Slow: ",
        b"POST /predict HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /",
    ],
    ids=["nothing", "a header", "headers", "the second request"],
)
@pytest.mark.attack("someone at ports 5000 and 8000", "slow and idle heads at the service", "10 s")
def test_slow_heads_end(service: ServiceProcess, start: bytes) -> None:
    with connections(service, 50) as slow:
        for one in slow:
            one.sendall(start)
        assert healthy(service)
        drop = b"x" if start else b""
        until(lambda: all(dripping(one, drop) for one in slow))


@pytest.mark.parametrize("page", [b"GET /health", b"POST /nothing", b"PUT /predict"])
@pytest.mark.attack("someone at ports 5000 and 8000", "a body that no page reads", "10 s")
def test_a_body_that_no_page_reads_ends(service: ServiceProcess, page: bytes) -> None:
    with connections(service, 10) as slow:
        for one in slow:
            one.sendall(page + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n")
        until(lambda: all(dripping(one, b"x" * 100) for one in slow))
        assert healthy(service)


@pytest.mark.attack("someone at ports 5000 and 8000", "answers that are never read", "30 s")
def test_answers_that_nobody_reads_end(service: ServiceProcess) -> None:
    process = service.process
    assert process is not None
    before = process.num_fds()
    with connections(service, 5) as unread:
        for one in unread:
            one.setblocking(False)
            with contextlib.suppress(OSError):  # more than is taken at once
                one.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 20_000)
        assert healthy(service)
        until(lambda: process.num_fds() <= before + 1)


@pytest.mark.attack(
    "someone at ports 5000 and 8000",
    "512 connections to the service",
    "256; the longest idle one goes",
)
def test_more_connections_than_there_may_be_take_no_place_from_others(service: ServiceProcess) -> None:
    process = service.process
    assert process is not None
    with connections(service, 2 * MOST_CONNECTIONS):
        assert healthy(service)
        assert process.num_fds() < MOST_CONNECTIONS + 100
        answer = httpx.post(f"{service.url}/predict", files={"file": photo()}, timeout=PATIENCE_S)
        assert answer.status_code == 200


def test_a_client_that_leaves_is_noticed_while_its_photo_waits(promoted: Path) -> None:
    """A photo that waits gives its place back at once, one that is predicted when it's done."""
    service = Service.load(promoted, promoted, threads=1, limits=RequestLimits(at_once=1, waiting=1))
    app, started, go = create_app(service), threading.Semaphore(0), threading.Event()

    def predict(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        started.release()
        assert go.wait(PATIENCE_S)
        return np.zeros(image.shape[:2], bool)

    service.require_model().predictor.predict = predict  # type: ignore[method-assign]

    async def play() -> None:
        first, second = Client(app), Client(app)
        await asyncio.to_thread(started.acquire)
        await inside(service, 2)
        assert await Client(app).status() == 503
        second.leave()
        assert await second.status() == 400
        third = Client(app)
        await inside(service, 2)
        first.leave()
        assert await first.status() == 400
        assert await Client(app).status() == 503  # the first's work goes on
        go.set()
        assert await third.status() == 200
        await inside(service, 0)

    asyncio.run(play())
    text = service.metrics.text().decode()
    assert 'wms_predict_errors_total{reason="disconnected",version="3"} 2.0' in text
    assert 'wms_predictions_total{status="ok",version="3"} 1.0' in text


async def inside(service: Service, count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while service._line._inside != count:
            await asyncio.sleep(0.01)  # a poll's pause


class Client:
    """A client that has sent a photo and waits, until it leaves."""

    def __init__(self, app: Any) -> None:
        headers = [tuple(line.lower().split(b": ")) for line in FORM.strip().split(b"\r\n")]
        scope = {"type": "http", "method": "POST", "path": "/predict", "headers": headers, "query_string": b""}
        self._sent, self._left, self._status = False, asyncio.Event(), 0
        self._task = asyncio.ensure_future(app(scope | {"http_version": "1.1"}, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if not self._sent:
            self._sent = True
            return {"type": "http.request", "body": BODY, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self._status = message.get("status", self._status)

    def leave(self) -> None:
        """Close the connection."""
        self._left.set()

    async def status(self) -> int:
        """The status of the answer."""
        await asyncio.wait_for(self._task, PATIENCE_S)
        return self._status


@pytest.mark.attack(
    "someone at ports 5000 and 8000",
    "clients that leave their places in the queue taken",
    "queued work of a closed connection is dropped",
)
def test_clients_that_leave_free_the_queue_of_a_process(service: ServiceProcess) -> None:
    with connections(service, 16) as gone:
        for one in gone:
            one.sendall(b"POST /predict HTTP/1.1\r\n" + FORM + BODY)
    answer = httpx.post(f"{service.url}/predict", files={"file": photo()}, timeout=PATIENCE_S)
    assert answer.status_code == 200
    until(lambda: 'reason="disconnected"' in httpx.get(f"{service.url}/metrics").text)


SLOW = 40
"""More than there may be photos that arrive."""


@pytest.mark.attack("someone at ports 5000 and 8000", "40 photos that come a byte at a time", "the latest gives way")
def test_slow_uploads_take_no_place_from_others(service: ServiceProcess) -> None:
    """Of 40, 32 may arrive; 8 make way for other slow ones, and one for a photo that comes at once."""
    with connections(service, SLOW) as slow:
        for one in slow:
            one.sendall(b"POST /predict HTTP/1.1\r\n" + FORM + BODY[:100])
        until(lambda: 'reason="slow",version="3"} 8.0' in metrics(service))
        for _ in range(2):
            answer = httpx.post(f"{service.url}/predict", files={"file": photo()}, timeout=PATIENCE_S)
            assert answer.status_code == 200
            for one in slow:
                with contextlib.suppress(OSError):
                    one.send(b"x")
        assert 'reason="slow",version="3"} 9.0' in metrics(service) and 'reason="busy"' not in metrics(service)
        assert sum(is_closed(one) for one in slow) == 9


def metrics(service: ServiceProcess) -> str:
    return httpx.get(f"{service.url}/metrics", timeout=PATIENCE_S).text


def test_a_photo_that_comes_fast_enough_keeps_its_place() -> None:
    async def play() -> None:
        arrivals = Arrivals(RequestLimits(receiving=2))
        with pytest.raises(TimeoutError):
            async with arrivals.one() as slow, arrivals.one() as fast:
                fast.came(16 * 1024)
                async with arrivals.one() as third:
                    assert slow.is_late() and not fast.is_late()
                    third.came(16 * 1024)
                    with pytest.raises(Refusal, match="2 photos are arriving already"):
                        await arrivals.one().__aenter__()
                await asyncio.Event().wait()

    asyncio.run(play())
