"""What the tests of the service share: photos, promoted models, and services in this process or in their own."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import psutil
import torch
from fastapi import FastAPI
from PIL import Image
from servers import free_port
from small import environment

from wms.data.bare import ORIENTATION_TAG
from wms.inference.export import export_model
from wms.models.unet import UNet
from wms.registry.ledger import Ledger, LedgerEntry, LedgerRecord
from wms.registry.types import Means
from wms.serving.app import create_app
from wms.serving.limits import RequestLimits
from wms.serving.service import Service

START_TIMEOUT_S: Final = 60.0  # It takes 1.5 s; far more on a machine that is busy.
SIZE = (130, 90)
CHANNELS = (4, 5, 6, 7, 8)


def photo(image_format: str = "JPEG", size: tuple[int, int] = SIZE, orientation: int = 1) -> bytes:
    """Soft colour noise as a file; `size` is width and height as stored."""
    small = np.random.default_rng(5).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    stream = io.BytesIO()
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(stream, format=image_format, exif=exif)
    return stream.getvalue()


def export(
    folder: Path, *, seed: int = 0, input_size: int = 64, mirror: bool = False, threshold: float = 0.5, **more: Any
) -> Path:
    """A tiny network with random weights whose probabilities differ visibly, exported into `folder`."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = UNet(channels=CHANNELS).build().train()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0  # statistics that fit the weights: otherwise all units may be dead
        model(torch.rand(4, 3, 64, 64))
        model.head.weight *= 5
    about = {"config_hash": "d" * 64, "data_version": "e" * 64, "git_commit": "c" * 40}
    settings = {
        "model": UNet(channels=CHANNELS),
        "input_size": input_size,
        "threshold": threshold,
        "mirror": mirror,
        **more,
    }
    export_model(model.eval().state_dict(), folder, about=about, **settings)
    return folder


def promote(model: Path, ledger: Path, version: int, **more: object) -> LedgerEntry:
    """Write a promotion of the files in `model` into the ledger in `ledger`; `more` replaces its fields."""
    card = json.loads((model / "production.json").read_bytes())
    before = Ledger(ledger).current()
    values = {
        "at": f"2026-11-{version:02d}T10:00:00+00:00",
        "who": "Ada",
        "action": "promote",
        "from_version": before.to_version if before else None,
        "to_version": version,
        "run_id": f"{version:032x}",
        "metrics": Means(dice=0.91, iou=0.85),
        "baseline": Means(dice=0.0, iou=0.0),
        "verdict": "gate: improved",
        "training_data_count": 9,
        "trained_at": "2026-11-01T09:00:00+00:00",
        **{key: card[key] for key in ("weights_sha256", "onnx_sha256", "git_commit", "config_hash", "data_version")},
    }
    return Ledger(ledger).append(LedgerRecord.model_validate({**values, **more}))


class ServiceProcess:
    """`wms serve` as a process of its own, on loopback."""

    def __init__(self, model: Path, log: Path, *more: str, ledger: Path | None = None, before: str = "") -> None:
        """`before` is Python that the process runs before it serves, such as a limit on itself."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        where = ["--model", str(model), "--ledger", str(ledger or model), "--port", str(self.port)]
        start = f"{before}\nimport runpy\nrunpy.run_module('wms.serving.cli', run_name='__main__', alter_sys=True)"
        self._command = [sys.executable, "-c", start, *where, *more]
        self.process: psutil.Popen | None = None

    def start(self) -> float:
        """Start it; returns the seconds until it answered, whatever it did."""
        started = time.monotonic()
        with self.log.open("wb") as log:
            environ = {**environment(), "PYTHONPATH": os.pathsep.join(sys.path)}
            self.process = psutil.Popen(self._command, stdout=log, stderr=subprocess.STDOUT, env=environ)
        while time.monotonic() < started + START_TIMEOUT_S and self.process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{self.url}/health", timeout=START_TIMEOUT_S)
                return time.monotonic() - started
            time.sleep(0.02)  # a poll's pause: nothing listens yet
        self.kill()
        raise RuntimeError(f"The service didn't start:\n{self.log.read_text()[-4000:]}")

    def kill(self) -> None:
        """SIGKILL it and wait until it's gone."""
        if self.process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                self.process.kill()
            self.process.wait(timeout=30)


@contextlib.contextmanager
def running(
    model: Path, log: Path, *more: str, ledger: Path | None = None, before: str = ""
) -> Iterator[ServiceProcess]:
    """A service that answers; its process is gone at the end."""
    service = ServiceProcess(model, log, *more, ledger=ledger, before=before)
    try:
        service.start()
        yield service
    finally:
        service.kill()


def ask(app: FastAPI, method: str, path: str, **more: Any) -> httpx.Response:
    """One request to an app in this process."""

    async def request() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **more)

    return asyncio.run(request())


def predict(app: FastAPI, content: bytes, query: str = "") -> httpx.Response:
    """Send a photo to an app in this process."""
    return ask(app, "POST", f"/predict{query}", files={"file": ("meter.jpg", content)})


def app_of(folder: Path, **limits: Any) -> FastAPI:
    """An app for the model and the ledger in `folder`."""
    return create_app(Service.load(folder, folder, threads=1, limits=RequestLimits(**limits)))
