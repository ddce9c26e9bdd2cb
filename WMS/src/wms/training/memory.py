"""The memory of the process: its peak, and how the C library returns freed blocks."""

from __future__ import annotations

import ctypes
import sys

import psutil

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # <malloc.h>


def keep_freed_memory() -> bool:
    """Make glibc reuse freed blocks instead of giving them back to the kernel at every step.

    Feature maps are larger than glibc's limit for its own heap, so each step would map and zero them anew, which costs
    more than half of the time of training on a CPU. Returns False without glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 * 2**20))
    return all(mallopt(name, value) == 1 for name, value in settings)


def peak_bytes() -> int:
    """The largest resident memory that this process has had, in bytes (the present one where unknown)."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS reports bytes, Linux KiB.
    return peak if sys.platform == "darwin" else peak * 1024
