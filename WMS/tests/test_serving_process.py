"""The service as a process of its own: ready soon, answering while it works, gone when it's told to go."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from entrance_table import WORKS, Row
from servers import require_tool
from serving_workshop import ServiceProcess, export, photo, promote, running

from wms.registry.ledger import HISTORY
from wms.serving.refusals import REASONS

pytest_plugins = ["serving_fixtures"]

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "serving.md"


@pytest.fixture(scope="module")
def service(promoted: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service that a whole module asks; uploads of 1 MiB at the most."""
    log = tmp_path_factory.mktemp("service") / "log"
    with running(promoted, log, "--max-upload", "1") as process:
        yield process


@pytest.fixture(scope="module")
def slow_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that needs about a second for a photo."""
    folder = export(tmp_path_factory.mktemp("slow"), input_size=1024, mirror=True)
    promote(folder, folder, 8)
    return folder


def post(url: str, content: bytes | None = None) -> httpx.Response:
    return httpx.post(f"{url}/predict", files={"file": ("meter.jpg", content or photo())}, timeout=60)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)  # a poll's pause


def test_a_process_predicts_and_counts(service: ServiceProcess) -> None:
    health = httpx.get(f"{service.url}/health")
    assert (health.status_code, health.json()["status"], health.json()["version"]) == (200, "healthy", 3)
    before = ok_count(service.url)
    answer = post(service.url)
    assert (answer.status_code, answer.headers["x-model-version"]) == (200, "3")
    assert answer.content.startswith(b"\x89PNG")
    assert ok_count(service.url) == before + 1
    assert "wms_model_loaded 1.0" in httpx.get(f"{service.url}/metrics").text
    assert re.search(r"Z INFO POST /predict 200 \d+ ms version 3\n", service.log.read_text())


@pytest.mark.parametrize("path", ["/", "/health", "/version", "/metrics", "/predict", "/openapi.json", "/nothing"])
def test_head_answers_as_get_without_the_body(service: ServiceProcess, path: str, entrance: Row) -> None:
    got = httpx.get(f"{service.url}{path}")
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        ask = f"HEAD {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        connection.sendall(ask.encode())
        received = b"".join(iter(lambda: connection.recv(65536), b"")).lower()
    start, *lines = received.decode().removesuffix("\r\n\r\n").split("\r\n")
    assert received.count(b"\r\n\r\n") == 1 and received.endswith(b"\r\n\r\n")
    told = {name: value for name, _, value in (line.partition(": ") for line in lines)}
    wanted = {name: value.lower() for name, value in got.headers.items()}
    assert told.keys() == wanted.keys() | {"connection"}
    moving = {"date"} | ({"content-length"} if path == "/metrics" else set())  # a count may have got one digit more
    assert int(start.split()[1]) == got.status_code
    assert all(told[name] == wanted[name] for name in wanted.keys() - moving)
    entrance("the rest", f"HEAD {path}", f"{got.status_code} and GET's headers, no body", WORKS)


def ok_count(url: str) -> float:
    found = re.search(r'wms_predictions_total\{status="ok",version="3"\} (\S+)', httpx.get(f"{url}/metrics").text)
    assert found
    return float(found[1])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which files a process has mapped")
def test_the_process_has_no_torch(service: ServiceProcess) -> None:
    assert service.process is not None
    mapped = {Path(entry.path).name for entry in service.process.memory_maps()}
    assert any("onnxruntime" in name for name in mapped)
    assert not [name for name in mapped if "torch" in name]


def test_one_connection_serves_good_and_refused_photos_in_turn(service: ServiceProcess) -> None:
    with httpx.Client(base_url=service.url, timeout=60) as client:
        for content, status in (
            (photo(), 200),
            (bytes(3_000_000), 413),
            (b"text", 415),
            (photo()[:900], 422),
            (photo(), 200),
        ):
            answer = client.post("/predict", files={"file": content})
            assert answer.status_code == status, answer.text
            assert (status == 200) == (answer.headers["content-type"] == "image/png")


def test_an_upload_without_end_is_refused_while_it_comes(service: ServiceProcess) -> None:
    assert service.process is not None
    memory = service.process.memory_info().rss
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    block = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
        connection.sendall(head + b"Content-Type: multipart/form-data; boundary=b\r\n\r\n")
        connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        sent = 0
        while not select.select([connection], [], [], 0)[0]:
            connection.sendall(block)
            sent += 0x10000
            assert sent < 500 * 2**20
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")
    assert service.process.memory_info().rss < memory + 64 * 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is told what to do")
def test_the_memory_of_large_photos_is_given_back(promoted: Path, tmp_path: Path) -> None:
    content = photo(size=(4000, 3000))
    with running(promoted, tmp_path / "log", "--threads", "1") as service, ThreadPoolExecutor(2) as clients:
        assert service.process is not None
        before = service.process.memory_info().rss
        for _ in range(2):
            answers = clients.map(lambda _: post(service.url, content), range(2))
            assert [answer.status_code for answer in answers] == [200, 200]
        assert service.process.memory_info().rss < before + 50 * 2**20


def test_a_client_that_leaves_half_way_is_counted_and_forgotten(service: ServiceProcess) -> None:
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n"
        connection.sendall(head + b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n")
    wanted = 'wms_predict_errors_total{reason="disconnected",version="3"} 1.0'
    until(lambda: wanted in httpx.get(f"{service.url}/metrics").text)
    assert "Traceback" not in service.log.read_text()


def test_health_answers_while_photos_are_predicted_and_others_wait(slow_model: Path, tmp_path: Path) -> None:
    with (
        running(slow_model, tmp_path / "log", "--threads", "1", "--at-once", "2", "--waiting", "1") as service,
        ThreadPoolExecutor(8) as clients,
        httpx.Client(base_url=service.url, timeout=60) as watcher,
    ):
        answers = [clients.submit(post, service.url) for _ in range(8)]
        healthy = 0
        while not all(answer.done() for answer in answers):
            assert watcher.get("/health").status_code == 200
            healthy += any(not answer.done() for answer in answers)
        assert healthy >= 5
        statuses = sorted(answer.result().status_code for answer in answers)
        assert statuses[:3] == [200, 200, 200]
        assert statuses[-1] == 503
        assert set(statuses) == {200, 503}
        busy = next(answer.result() for answer in answers if answer.result().status_code == 503)
        assert (busy.json()["reason"], busy.headers["retry-after"]) == ("busy", "2")
        masks = {answer.result().content for answer in answers if answer.result().status_code == 200}
        assert len(masks) == 1
        assert post(service.url).status_code == 200


@pytest.mark.parametrize(
    ("damage", "why"), [("no model", "No model at"), ("no ledger", "has no entry, but production_current.json")]
)
def test_a_process_without_a_model_says_why(own: Path, tmp_path: Path, damage: str, why: str) -> None:
    (own / (HISTORY if damage == "no ledger" else "production.onnx")).unlink()
    if damage == "no model":
        (own / "production.pth").unlink()
    with running(own, tmp_path / "log") as service:
        health = httpx.get(f"{service.url}/health")
        assert (health.status_code, health.json()["status"]) == (503, "unhealthy")
        assert why in health.json()["reason"]
        refused = post(service.url)
        assert (refused.status_code, refused.json()["reason"]) == (503, "no_model")
        assert "WARNING No model is served at" in service.log.read_text()
        assert "Traceback" not in service.log.read_text()


def test_sigterm_finishes_what_is_under_way_and_leaves_nothing(slow_model: Path, tmp_path: Path) -> None:
    with running(slow_model, tmp_path / "log", "--threads", "1") as service, ThreadPoolExecutor(1) as client:
        process = service.process
        assert process is not None
        answer = client.submit(post, service.url)
        busy = process.cpu_times().user
        until(lambda: process.cpu_times().user > busy + 0.1)  # it works on the photo
        assert not answer.done()
        started = time.monotonic()
        process.terminate()
        assert process.wait(timeout=30) == 0
        assert time.monotonic() - started < 20
        assert answer.result().status_code == 200
        socket.create_server(("127.0.0.1", service.port)).close()  # the port is free again
        assert "Traceback" not in service.log.read_text()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_an_idle_process_stops_at_once(promoted: Path, tmp_path: Path, number: int, code: int) -> None:
    with running(promoted, tmp_path / "log") as service, httpx.Client(base_url=service.url) as client:
        client.get("/health")  # a connection that is kept alive
        assert service.process is not None
        assert not service.process.children()
        started = time.monotonic()
        service.process.send_signal(number)
        assert service.process.wait(timeout=30) == code
        assert time.monotonic() - started < 10
        assert "Traceback" not in service.log.read_text()


def test_a_taken_port_is_one_sentence(service: ServiceProcess, promoted: Path) -> None:
    where = ["--model", str(promoted), "--ledger", str(promoted), "--port", str(service.port)]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "wms.serving.cli", *where]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: Can't listen on 127.0.0.1, port {service.port}: address already in use; "
        "stop what listens there, or choose another --host or --port.\n"
    )


def test_the_documents_example_runs(service: ServiceProcess, tmp_path: Path) -> None:
    require_tool("curl")
    (tmp_path / "meter.jpg").write_bytes(photo())
    examples = re.findall(r"^    (curl .*)$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(examples) == 5
    for line in examples:
        command = line.replace("http://127.0.0.1:8000", service.url)
        done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S602
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "mask.png").read_bytes() == post(service.url).content


def test_the_document_names_every_reason_with_its_status() -> None:
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert {reason: int(status) for status, reason in rows} == REASONS
