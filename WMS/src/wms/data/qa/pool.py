"""Runs reading tasks on several processes, with only a few tasks in memory at a time."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.connection import wait as wait_for_handles
from typing import Final

from wms.data.qa.facts import Fact
from wms.data.qa.reading import Task, read_task
from wms.errors import DeviceError

_PROCESSES_FROM: Final = 64  # tasks; starting processes takes a second, in which a process reads about that many pairs
_WAITING: Final = 8  # tasks handed out ahead, per process


def read_all(tasks: Sequence[Task], workers: int) -> Iterator[tuple[Task, dict[str, Fact]]]:
    """Each task with its facts, in the order in which they get ready. Raises DeviceError when a process dies."""
    if workers <= 1 or len(tasks) < _PROCESSES_FROM:
        yield from ((task, read_task(task)) for task in tasks)
        return
    # Spawned, because a process that holds threads must not be forked.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent) as pool:
        try:
            yield from _in_flight(pool, tasks, workers * _WAITING)
        except BrokenProcessPool as error:
            raise DeviceError(
                "A process that reads photos died, probably for lack of memory; run it again with --workers 1."
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _in_flight(pool: ProcessPoolExecutor, tasks: Sequence[Task], limit: int) -> Iterator[tuple[Task, dict[str, Fact]]]:
    """Hand out `limit` tasks at a time, so that 100,000 tasks don't fill the memory."""
    left = iter(tasks)
    running: dict[Future[dict[str, Fact]], Task] = {}
    while True:
        for task in islice(left, limit - len(running)):
            running[pool.submit(read_task, task)] = task
        if not running:
            return
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            yield running.pop(future), future.result()


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
