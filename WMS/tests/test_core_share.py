"""Threads follow what other programs leave of the cores."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator

import psutil
import pytest
import torch

from wms.training.core_share import CoreShare, Usage, fair_threads, read_usage


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Four threads to begin with, whatever the machine has; afterwards as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


class Machine:
    """Counts seconds; `others` cores are busy with other programs, `own` with this one."""

    def __init__(self) -> None:
        self.now = self.all_s = self.own_s = 0.0

    def pass_seconds(self, seconds: float, *, others: float, own: float) -> None:
        self.now += seconds
        self.all_s += seconds * (others + own)
        self.own_s += seconds * own

    def share(self, *, is_fixed: bool = False) -> CoreShare:
        return CoreShare(is_fixed=is_fixed, clock=lambda: self.now, usage=lambda: Usage(self.all_s, self.own_s))


@pytest.mark.parametrize(
    ("cores", "others", "threads"),
    [(2, 0.0, 2), (2, 0.25, 2), (2, 0.67, 1), (2, 1.0, 1), (2, 2.0, 1), (8, 0.5, 7), (8, 7.9, 1), (1, 0.9, 1)],
)
def test_a_core_that_others_use_gets_no_thread(cores: int, others: float, threads: int) -> None:
    assert fair_threads(cores, others) == threads


def test_threads_go_down_and_up_again() -> None:
    machine = Machine()
    share = machine.share()
    for others, expected in ((0.0, 4), (1.0, 3), (3.0, 1), (4.0, 1), (0.1, 4)):
        machine.pass_seconds(2.0, others=others, own=4 - min(others, 3))
        share.adapt()
        assert torch.get_num_threads() == expected


def test_it_looks_once_a_second() -> None:
    machine = Machine()
    share = machine.share()
    machine.pass_seconds(0.5, others=4, own=0)
    share.adapt()
    assert torch.get_num_threads() == 4
    machine.pass_seconds(0.6, others=4, own=0)
    share.adapt()
    assert torch.get_num_threads() == 1


def test_a_chosen_number_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    fixed = machine.share(is_fixed=True)
    machine.pass_seconds(5.0, others=4, own=0)
    fixed.adapt()
    assert torch.get_num_threads() == 4
    cpu = torch.device("cpu")
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert CoreShare.of(cpu, 1)._cores == 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert CoreShare.of(cpu, 1)._cores == 4
    assert CoreShare.of(cpu, 2)._cores == CoreShare.of(torch.device("cuda"), 1)._cores == 1


def test_another_program_is_seen_and_our_own_work_isnt() -> None:
    """The real counters: a busy child counts as another program until it ended."""
    before, began = read_usage(), time.monotonic()
    busy = multiprocessing.get_context("spawn").Process(target=_burn)
    busy.start()
    try:
        child = psutil.Process(busy.pid)
        while child.cpu_times().user < 0.3:
            time.sleep(0.02)
        after = read_usage()
    finally:
        busy.kill()
        busy.join()
    assert after.all_s - before.all_s >= 0.25
    assert after.own_s - before.own_s < time.monotonic() - began


def _burn() -> None:
    while True:
        pass
