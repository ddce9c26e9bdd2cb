"""The memory of the service: a photo's share whatever is on it, and large photos at once under a real limit."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from serving_workshop import ServiceProcess, export, photo, promote, running

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's peak of memory")

SIDES = (3000, 2000)
PIXELS = SIDES[0] * SIDES[1]


@pytest.fixture(scope="module")
def all_strip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model to which every pixel is strip: the most memory that a photo can take."""
    folder = export(tmp_path_factory.mktemp("all"), threshold=1e-6, one_strip=True)
    promote(folder, folder, 3)
    return folder


@pytest.fixture(scope="module")
def service(all_strip: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with running(all_strip, tmp_path_factory.mktemp("service") / "log", "--threads", "1") as process:
        yield process


def peak(service: ServiceProcess, *, anew: bool = False) -> int:
    """The bytes that the service's process held at most, since its start or since it was asked `anew`."""
    assert service.process is not None
    if anew:
        Path(f"/proc/{service.process.pid}/clear_refs").write_text("5")
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{service.process.pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


@pytest.mark.parametrize(("kind", "orientation"), [("JPEG", 6), ("WEBP", 1)])
def test_a_photo_that_is_strip_all_over_takes_the_memory_of_any_other(
    service: ServiceProcess, kind: str, orientation: int
) -> None:
    before = peak(service, anew=True)
    answer = httpx.post(f"{service.url}/predict", files={"file": photo(kind, SIDES, orientation)}, timeout=60)
    assert (answer.status_code, float(answer.headers["x-strip-share"])) == (200, 1.0)
    assert (peak(service) - before) / PIXELS < 20
