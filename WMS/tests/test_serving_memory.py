"""The memory of the service: a photo's share whatever is on it, and large photos at once under a real limit."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from serving_workshop import ServiceProcess, export, photo, promote, running

from wms.serving.memory import group_limits

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


LIMIT_MIB = 500
UNDER_A_GROUP = """
import os, pathlib
group = pathlib.Path({group!r})
(group / {name!r}).write_text(str({limit}))
(group / "cgroup.procs").write_text(str(os.getpid()))
"""
UNDER_AN_ADDRESS_SPACE = "import resource; resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))"


@contextlib.contextmanager
def memory_group() -> Iterator[tuple[Path, str]]:
    """A control group of this test's own, and the name of the file for its limit."""
    mounts = ((Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"), (Path("/sys/fs/cgroup"), "memory.max"))
    mount, name = mounts[0] if mounts[0][0].is_dir() else mounts[1]
    group = mount / f"wms-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"only root may make a control group ({error.strerror})")
    try:
        if not (group / name).exists():
            pytest.skip("control groups here have no limit of memory")
        yield group, name
    finally:
        group.rmdir()


def storm(service: ServiceProcess, photos: list[bytes]) -> list[httpx.Response]:
    """The answers to photos sent at the same time; the process must live on, without a traceback in its log."""
    with ThreadPoolExecutor(len(photos)) as clients:
        url = f"{service.url}/predict"
        answers = list(clients.map(lambda one: httpx.post(url, files={"file": one}, timeout=120), photos))
    assert httpx.get(f"{service.url}/health", timeout=60).status_code == 200
    assert "Traceback" not in service.log.read_text()
    assert {answer.status_code for answer in answers} <= {200, 413, 503}, [answer.text[:200] for answer in answers]
    assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 503)
    return answers


@pytest.mark.attack(
    "someone at ports 5000 and 8000",
    "many large photos at once, in a control group",
    "the queue weighs photos by their memory",
)
def test_large_photos_at_once_stay_within_a_group(all_strip: Path, tmp_path: Path) -> None:
    large, larger, small = (photo("JPEG", sides) for sides in (SIDES, (10_000, 5000), (300, 200)))
    sent = [large] * 4 + [larger] + [small] * 3
    with memory_group() as (group, name):
        before = UNDER_A_GROUP.format(group=str(group), name=name, limit=LIMIT_MIB * 2**20)
        with running(all_strip, tmp_path / "log", "--threads", "1", "--at-once", "8", before=before) as service:
            answers = storm(service, sent)
    assert [answer.status_code for answer in answers] == [413 if one is larger else 200 for one in sent]
    refused = answers[sent.index(larger)].json()
    assert refused["reason"] == "too_many_pixels" and "MiB of memory" in refused["error"]


@pytest.mark.attack(
    "someone at ports 5000 and 8000",
    "many large photos at once, with a limited address space",
    "the queue weighs photos by their memory",
)
def test_large_photos_at_once_stay_within_an_address_space(all_strip: Path, tmp_path: Path) -> None:
    before = UNDER_AN_ADDRESS_SPACE.format(limit=2 * 2**30)
    with running(all_strip, tmp_path / "log", "--threads", "1", "--at-once", "8", before=before) as service:
        answers = storm(service, [photo("JPEG", SIDES)] * 4)
    assert [answer.status_code for answer in answers] == [200] * 4


def test_the_operators_limit_counts(all_strip: Path, tmp_path: Path) -> None:
    with running(all_strip, tmp_path / "log", "--threads", "1", "--memory", "128") as service:
        answer = storm(service, [photo("JPEG", SIDES)])[0]
        assert (answer.status_code, answer.json()["reason"]) == (413, "too_many_pixels")
        assert "Photos may take 0 MiB of memory together" in service.log.read_text()


def test_the_limits_of_control_groups_are_read_wherever_they_are(tmp_path: Path) -> None:
    """Of version 1 and 2, of the process's own group and those above, on the machine and in a container."""

    def write(path: str, text: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    def read(groups: str, of_self: str) -> list[int]:
        write("self", of_self)
        return group_limits(tmp_path / groups, tmp_path / "self")

    write("two/pods/one/memory.max", "max\n")
    write("two/pods/memory.max", "1000\n")
    assert read("two", "0::/pods/one\n") == [1000]
    write("inside/memory.max", "2000\n")
    assert read("inside", "0::/\n") == read("inside", "0::/../../elsewhere\n") == [2000]
    write("old/memory/docker/7/memory.limit_in_bytes", "3000\n")
    write("old/memory/memory.limit_in_bytes", str(2**63 - 4096))
    assert read("old", "9:cpu,cpuacct:/x\n4:memory:/docker/7\n0::/\n") == [3000, 2**63 - 4096]
    assert read("absent", "0::/a\n") == group_limits(tmp_path, tmp_path / "nothing") == []
