"""Which model is served: only a whole one that the ledger confirms; else the reason, and no torch in either case."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import anyio
import numpy as np
import onnx
import pytest
from servers import free_port
from serving_workshop import ask, photo, predict, promote

from wms.errors import LineageError, UsageError
from wms.files import sha256_file
from wms.registry.ledger import CURRENT, HISTORY, Ledger
from wms.serving import cli
from wms.serving.app import create_app
from wms.serving.limits import RequestQueue
from wms.serving.model import NoModel, ServedModel, confirm, load_model
from wms.serving.refusals import Refusal
from wms.serving.service import Service

pytest_plugins = ["serving_fixtures"]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def rewrite(folder: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    """Change the network and its card, so that it's whole, and promote it that way."""
    graph = onnx.load(str(folder / "production.onnx"))
    change(graph)
    onnx.save(graph, str(folder / "production.onnx"))
    card = json.loads((folder / "production.json").read_text())
    card["onnx_sha256"] = sha256_file(folder / "production.onnx")
    (folder / "production.json").write_text(json.dumps(card))
    promote(folder, folder, 4)


def fill_with_nan(graph: onnx.ModelProto) -> None:
    for tensor in graph.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.full_like(values, np.nan), tensor.name))


def rename_the_output(graph: onnx.ModelProto) -> None:
    graph.graph.output[0].name = graph.graph.node[-1].output[0] = "other"


def replace_ledger(folder: Path, **more: object) -> None:
    for name in (HISTORY, CURRENT):
        (folder / name).unlink(missing_ok=True)
    promote(folder, folder, 5, **more)


UNSERVED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (lambda f: f.rename(f.with_name("away")), r"No model at .*production\.onnx"),
    "no network": (lambda f: (f / "production.onnx").unlink(), r"its weights are there: run .*wms versions export"),
    "a damaged network": (lambda f: flip(f / "production.onnx"), r"production\.onnx isn't the file that"),
    "damaged weights": (lambda f: flip(f / "production.pth"), r"production\.pth holds other weights"),
    "a damaged card": (lambda f: (f / "production.json").write_text("{"), r"production\.json can't be read as JSON"),
    "no ledger": (lambda f: (f / HISTORY).unlink(), r"has no entry, but production_current\.json .* restore both"),
    "an empty folder of the ledger": (
        lambda f: [(f / name).unlink() for name in (HISTORY, CURRENT)],
        r"has no entry about the weights [0-9a-f]{12}\.\.\. among its 0",
    ),
    "a damaged ledger": (lambda f: (f / HISTORY).write_text("{}\n[]\n"), r"line 1 is damaged"),
    "a ledger that was changed": (
        lambda f: (f / HISTORY).write_text((f / HISTORY).read_text().replace('"dice":0.91', '"dice":0.99')),
        r"line 1 was changed after it was written",
    ),
    "a ledger about others": (lambda f: replace_ledger(f, weights_sha256="0" * 64), r"has no entry .* among its 1; "),
    "another export": (lambda f: replace_ledger(f, onnx_sha256="0" * 64), r"version 5 was promoted with 000000000000"),
    "no numbers": (lambda f: rewrite(f, fill_with_nan), r"computes no numbers \(NaN\)"),
    "no output of that name": (lambda f: rewrite(f, rename_the_output), r"fails at its first prediction"),
}


@pytest.mark.parametrize("name", UNSERVED)
def test_what_may_not_be_served_is_said_by_a_process_that_runs(own: Path, name: str) -> None:
    damage, why = UNSERVED[name]
    damage(own)
    service = Service.load(own, own, threads=1)
    assert isinstance(service.model, NoModel)
    app = create_app(service)
    health = ask(app, "GET", "/health")
    assert health.status_code == 503
    assert health.json() == {"status": "unhealthy", "reason": service.why}
    assert re.search(why, service.why) and re.search(why, service.model.why)
    assert service.model.why.endswith(".")
    for answer in (predict(app, photo()), ask(app, "GET", "/version")):
        assert answer.status_code == 503
        assert answer.json() == {"error": service.why, "reason": "no_model"}
    metrics = ask(app, "GET", "/metrics").text
    assert "wms_model_loaded 0.0" in metrics
    assert 'wms_predictions_total{status="error",version="none"} 1.0' in metrics
    assert 'wms_predict_errors_total{reason="no_model",version="none"} 1.0' in metrics


def test_the_newest_entry_about_exactly_these_files_counts(own: Path) -> None:
    promote(own, own, 4, onnx_sha256="0" * 64)
    entries = Ledger(own).entries()
    first = entries[0]
    assert confirm(first.weights_sha256, first.onnx_sha256, entries, own) == first
    again = promote(own, own, 7)
    entries = Ledger(own).entries()
    assert confirm(first.weights_sha256, first.onnx_sha256, entries, own) == again
    with pytest.raises(LineageError, match="version 7 was promoted with"):
        confirm(first.weights_sha256, "1" * 64, entries, own)


def test_the_ledger_may_lie_elsewhere_and_the_weights_may_be_absent(own: Path, tmp_path: Path) -> None:
    (own / HISTORY).rename(tmp_path / HISTORY)
    (own / "production.pth").unlink()
    assert isinstance(load_model(own, own), NoModel)
    model = load_model(own, tmp_path, threads=1)
    assert isinstance(model, ServedModel)
    assert (model.version, model.is_production) == (3, True)


def test_a_line_lets_no_more_in_than_fit(capsys: pytest.CaptureFixture[str]) -> None:
    line, running, go = RequestQueue(at_once=2, waiting=1), threading.Semaphore(0), threading.Event()
    most = now = 0
    lock = threading.Lock()

    def work() -> int:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        running.release()
        assert go.wait(30)
        with lock:
            now -= 1
        return 1

    async def crowd() -> list[int]:
        found: list[int] = []

        async def one() -> None:
            found.append(await line.run(work))

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(one)
            for _ in range(2):
                await anyio.to_thread.run_sync(running.acquire)
            with pytest.raises(Refusal, match="3 photos are being predicted or wait") as caught:
                await line.run(work)
            assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "2"})
            go.set()
        return found

    assert anyio.run(crowd) == [1, 1, 1]
    assert most == 2
    line.check()


PREDICT_WITHOUT_TORCH = """
import asyncio, sys, httpx
from pathlib import Path
from wms.serving import cli
from wms.serving.app import create_app
from wms.serving.service import Service

async def predict(app, content):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return await client.post("/predict", files={"file": content})

folder = Path(sys.argv[1])
answer = asyncio.run(predict(create_app(Service.load(folder, folder)), Path(sys.argv[2]).read_bytes()))
assert answer.status_code == 200, answer.text
heavy = {"torch", "mlflow", "matplotlib", "onnx", "scipy", "pandas"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""


def test_a_prediction_needs_no_torch(promoted: Path, tmp_path: Path) -> None:
    (tmp_path / "meter.jpg").write_bytes(photo())
    command = [sys.executable, "-c", PREDICT_WITHOUT_TORCH, str(promoted), str(tmp_path / "meter.jpg")]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        ("--port", "70000"),
        ("--port", "-1"),
        ("--port", "9" * 30),
        ("--threads", "0"),
        ("--threads", "9" * 30),
        ("--at-once", "0"),
        ("--at-once", "nan"),
        ("--waiting", "-1"),
        ("--max-upload", "0"),
        ("--max-upload", "nan"),
    ],
)
def test_arguments_out_of_range_are_refused(
    tmp_path: Path, wrong: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.COMMAND(["--model", str(tmp_path), "--ledger", str(tmp_path), "--port", str(free_port()), *wrong])
    assert caught.value.code == UsageError.exit_code
    assert f"{wrong[0]}: '{wrong[1]}' isn't a " in capsys.readouterr().err
