"""Runs reading tasks on several processes."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for_handles
from typing import Final

from wms.data.qa.facts import Fact
from wms.data.qa.reading import Task, read_task
from wms.errors import DeviceError

_PROCESSES_FROM: Final = 64  # tasks; starting processes takes a second, in which a process reads about that many pairs
_CHUNK: Final = 8  # tasks handed to a process at a time


def read_all(tasks: Sequence[Task], workers: int) -> Iterator[tuple[Task, dict[str, Fact]]]:
    """Each task with its facts, in order. Raises DeviceError when a process dies."""
    if workers <= 1 or len(tasks) < _PROCESSES_FROM:
        yield from ((task, read_task(task)) for task in tasks)
        return
    # Spawned, because a process that holds threads must not be forked.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent) as pool:
        try:
            yield from zip(tasks, pool.map(read_task, tasks, chunksize=_CHUNK), strict=True)
        except BrokenProcessPool as error:
            raise DeviceError(
                "A process that reads photos died, probably for lack of memory; run it again with --workers 1."
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _end_with_parent() -> None:
    """End this reading process when its parent is gone, even if the parent was killed."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    handle = parent.sentinel

    def watch() -> None:
        wait_for_handles([handle])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
