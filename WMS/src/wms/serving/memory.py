"""The memory that the service's process may take, and the part of it that photos may take together."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

import psutil

MIB: Final = 2**20
_GROUPS: Final = Path("/sys/fs/cgroup")
_GROUPS_OF_SELF: Final = Path("/proc/self/cgroup")
_OTHER: Final = 48 * MIB
"""Allowance for uploads below 1 MiB, answers and connections."""


def photo_memory(*, setting: int | None, upload_bytes: int, network: int, at_once: int) -> int:
    """The bytes that all photos being predicted may take together, now that the model is loaded.

    `setting` is what the process may take in all, by its operator; without that the least limit known counts: the
    container's, the address space's, the machine's. `network` is what the model took at its loading and its first
    prediction: each prediction at the same time may take that once more, and keeps it, because ONNX Runtime lays its
    memory out anew after the first. `upload_bytes` are the most of a file, of which two copies are read for a look at
    its header.
    """
    reserve = _OTHER + 2 * upload_bytes + at_once * network
    left = [limit - taken for limit, taken in _limits(setting)]
    return max(0, min(left) - reserve)


def taken() -> int:
    """The bytes of memory that this process takes now."""
    return int(psutil.Process().memory_info().rss)


def _limits(setting: int | None) -> Iterator[tuple[int, int]]:
    """Each limit of this process, and what is taken of it."""
    now = psutil.Process().memory_info()
    yield psutil.virtual_memory().total, now.rss
    if setting is not None:
        yield setting, now.rss
    for limit in group_limits():
        yield limit, now.rss
    if sys.platform != "win32":
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        if soft != resource.RLIM_INFINITY:
            yield soft, now.vms


def group_limits(groups: Path = _GROUPS, of_self: Path = _GROUPS_OF_SELF) -> list[int]:
    """The memory limits of this process's control groups and of those above; none where there are no such groups."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for line in of_self.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                found += _up(groups, path, "memory.max")
                found += _up(groups / "unified", path, "memory.max")
            elif "memory" in controllers.split(","):
                found += _up(groups / "memory", path, "memory.limit_in_bytes")
    return found


def _up(mount: Path, path: str, name: str) -> Iterator[int]:
    """The limits in a group's folder and in the folders above it.

    Inside a container `path` may be the group's place on the machine, which isn't there; the mount itself then is the
    container's group.
    """
    parts = PurePosixPath(path).parts[1:]
    for length in range(len(parts), -1, -1):
        with contextlib.suppress(OSError, ValueError):  # "max" isn't a number: no limit
            yield int(Path(mount, *parts[:length], name).read_text(encoding="ascii"))


def mebibytes(count: int) -> str:
    """A number of bytes for people."""
    return f"{count / MIB:,.0f} MiB"
