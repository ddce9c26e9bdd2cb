"""Watches the memory of all processes of a demo together, from a thread."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Final, Self

import psutil

_PAUSE_S: Final = 0.5


class MemoryWatch:
    """Samples resident memory while the `with` block runs; `peak` is the largest sum in bytes.

    This process, its descendants and the processes from `others` count. Pages that processes share count for each
    process: the true figure is smaller.
    """

    def __init__(self, others: Callable[[], Iterable[psutil.Process]] = lambda: ()) -> None:
        self.peak = 0
        self._others = others
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_PAUSE_S):
            self.peak = max(self.peak, sum(_resident(self._family())))

    def _family(self) -> Iterator[psutil.Process]:
        own = psutil.Process()
        # By process id, because `others` may also find descendants.
        found = {process.pid: process for process in (own, *own.children(recursive=True), *self._others())}
        yield from found.values()


def _resident(processes: Iterable[psutil.Process]) -> Iterator[int]:
    for process in processes:
        with contextlib.suppress(psutil.Error):  # it may end while it's looked at
            yield int(process.memory_info().rss)
