"""How many threads a training takes while other programs run beside it.

The threads of one convolution wait for one another. Where one of them shares its core with another program, all of them
wait for that one, so a fair share of the cores turns into a third of it. Fewer threads, each with a core of its own,
keep the whole share.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import psutil
import torch

FIXED: Final = "OMP_NUM_THREADS"
"""Where the user sets this variable, its number of threads stays; torchrun sets it, too."""

_LOOK_S: Final = 1.0
# A core that others use up to this part is still worth a thread.
_SPARE: Final = 0.3


class Usage(NamedTuple):
    """Seconds of computing since the machine's start: of all programs, and of this process with its children."""

    all_s: float
    own_s: float


def read_usage() -> Usage:
    """The machine's usage now. The time that a hypervisor takes away counts as used by others."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    guest = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # is part of user and nice already
    own = psutil.Process().cpu_times()
    return Usage(sum(times) - idle - guest, own.user + own.system + own.children_user + own.children_system)


def fair_threads(cores: int, others: float) -> int:
    """Threads for a machine of `cores` cores of which other programs use `others` (0 to cores): at least one.

    >>> fair_threads(2, 0.1), fair_threads(2, 0.7), fair_threads(8, 2.0)
    (2, 1, 6)
    """
    return max(1, min(cores, int(cores - others + _SPARE)))


class CoreShare:
    """Sets torch's threads to what others leave; call `adapt` at each step: it looks once a second.

    `is_fixed` leaves torch's own number. `clock` and `usage` are for tests.
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
        """For a run on `device`: fixed on an accelerator, in a group of processes, and where the user has chosen."""
        return cls(is_fixed=device.type != "cpu" or world > 1 or bool(os.environ.get(FIXED)))

    def adapt(self) -> None:
        """Look at what others use since the last look, and take the threads that this leaves."""
        if self._cores == 1 or (elapsed := self._clock() - self._looked) < _LOOK_S:
            return
        usage = self._usage()
        others = (usage.all_s - self._before.all_s) - (usage.own_s - self._before.own_s)
        self._looked, self._before = self._looked + elapsed, usage
        threads = fair_threads(self._cores, max(0.0, others / elapsed))
        if threads != torch.get_num_threads():
            torch.set_num_threads(threads)
