"""The memory that photos take in the service, measured with a network of the recipe of record: docs/serving.md."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from serving_workshop import ServiceProcess, photo, promote, running

from wms.config import load_config
from wms.inference.export import export_model
from wms.serving.marking import memory_of
from wms.serving.memory import MIB

RECIPE: Final = Path(__file__).resolve().parents[2] / "WMS" / "configs" / "train.yaml"
_services: list[ServiceProcess] = []


@dataclass(frozen=True)
class Load:
    """Photos that are sent at the same time, each of whose pixels is strip: no photo takes more."""

    kind: str
    sides: tuple[int, int]
    count: int = 1
    orientation: int = 1


LOADS: Final = (
    *(Load(kind, (4000, 3000)) for kind in ("JPEG", "PNG", "TIFF", "GIF", "WEBP", "AVIF")),
    Load("BMP", (3200, 2400)),
    Load("JPEG", (4000, 3000), orientation=6),
    Load("JPEG", (8000, 6000)),
    Load("JPEG", (8000, 6000), count=2),
)


@contextlib.contextmanager
def measured_service() -> Iterator[None]:
    """A process for all loads."""
    config = load_config(RECIPE)
    with tempfile.TemporaryDirectory(prefix="wms-proof-") as name:
        export_model(
            config.model.build().state_dict(),
            Path(name),
            model=config.model,
            input_size=config.input_size,
            threshold=1e-9,
            mirror=config.evaluation.mirror,
            second_look=config.evaluation.second_look,
            detail=config.data.cache_size,
            one_strip=config.evaluation.one_strip,
            about={"config_hash": "d" * 64, "data_version": "e" * 64, "git_commit": "c" * 40},
        )
        promote(Path(name), Path(name), 3)
        with running(Path(name), Path(name) / "log", "--max-upload", "40") as service:
            with ThreadPoolExecutor(4) as clients:  # the network's own memory, which stays
                list(clients.map(lambda _: _masked(service, photo()), range(8)))
            _services.append(service)
            try:
                yield
            finally:
                _services.remove(service)


def measure(case: int, _folder: Path) -> str:
    """Send a load; returns what it took, and raises AssertionError if that is more than the photos are weighed."""
    load, service = LOADS[case], _services[-1]
    content = photo(load.kind, load.sides, load.orientation)
    rest = memory(service, "VmRSS", anew=True)
    with ThreadPoolExecutor(load.count) as clients:
        answers = list(clients.map(lambda _: _masked(service, content), range(load.count)))
    assert {answer.status_code for answer in answers} == {200}, answers[0].text
    peak = memory(service, "VmHWM")
    pixels = load.count * load.sides[0] * load.sides[1]
    weighed = load.count * memory_of(content, max_megapixels=50)
    assert peak - rest <= weighed, f"{(peak - rest) / MIB:.0f} MiB, not {weighed / MIB:.0f}"
    turned = " turned" if load.orientation > 4 else ""
    sent = f"{load.count} of {pixels / load.count / 1e6:.1f} megapixels, {load.kind}{turned}"
    return (
        f"{sent}: {rest / MIB:.0f} MiB at rest, "
        f"{peak / MIB:.0f} at most, {(peak - rest) / pixels:.1f} bytes a pixel, weighed {weighed / MIB:.0f} MiB"
    )


def _masked(service: ServiceProcess, content: bytes) -> httpx.Response:
    return httpx.post(f"{service.url}/predict", files={"file": content}, timeout=300)


def memory(service: ServiceProcess, name: str, *, anew: bool = False) -> int:
    """A count of bytes in Linux's status of the service's process; the peak VmHWM may begin `anew`."""
    assert service.process is not None
    if anew:
        Path(f"/proc/{service.process.pid}/clear_refs").write_text("5")
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{service.process.pid}/status").read_text())
    assert found
    return int(found[1]) * 1024
