"""How many threads a training takes while other programs run beside it.

The threads of a convolution wait for each other. If a single thread shares a core with another program, all threads
wait for that thread, so a fair share of the cores shrinks to a third. Fewer threads, each with an exclusive core, keep
the whole share.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple

import psutil
import torch

from wms.settings import ThreadSettings

_LOOK_S: Final = 1.0
# A core is worth a thread as long as others use at most this share.
_SPARE: Final = 0.3


class Usage(NamedTuple):
    """Seconds of computing since the machine's start: of all programs, and of this process with child processes."""

    all_s: float
    own_s: float


def read_usage() -> Usage:
    """The machine's current usage. The time that a hypervisor takes away counts as used by others."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    guest = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # is part of user and nice already
    own = psutil.Process().cpu_times()
    return Usage(sum(times) - idle - guest, own.user + own.system + own.children_user + own.children_system)


def fair_threads(cores: int, others: float) -> int:
    """Threads for a machine of `cores` cores of which other programs use `others` (0 to cores): at least 1.

    >>> fair_threads(2, 0.1), fair_threads(2, 0.7), fair_threads(8, 2.0)
    (2, 1, 6)
    """
    return max(1, min(cores, int(cores - others + _SPARE)))


class CoreShare:
    """Sets torch's threads to the cores that others leave; call `adapt` at each step.

    `adapt` measures at most once a second. `is_fixed` keeps torch's default number. `clock` and `usage` are for tests.
    """

    def __init__(
        self,
        *,
        is_fixed: bool = False,
        clock: Callable[[], float] = time.monotonic,
        usage: Callable[[], Usage] = read_usage,
    ) -> None:
        self._cores = 1 if is_fixed else torch.get_num_threads()
        self._clock, self._usage = clock, usage
        self._looked = clock()
        self._before = usage() if self._cores > 1 else Usage(0.0, 0.0)

    @classmethod
    def of(cls, device: torch.device, world: int) -> CoreShare:
        """For a run on `device`: fixed on an accelerator, in a group of processes, or by OMP_NUM_THREADS."""
        return cls(is_fixed=device.type != "cpu" or world > 1 or bool(ThreadSettings.read().omp_num_threads))

    def adapt(self) -> None:
        """Measure the cores that others used since the last call, and set the threads to the remaining cores."""
        if self._cores == 1 or (elapsed := self._clock() - self._looked) < _LOOK_S:
            return
        usage = self._usage()
        others = (usage.all_s - self._before.all_s) - (usage.own_s - self._before.own_s)
        self._looked, self._before = self._looked + elapsed, usage
        threads = fair_threads(self._cores, max(0.0, others / elapsed))
        if threads != torch.get_num_threads():
            torch.set_num_threads(threads)
