"""`make bench-loop`: what the loop costs beside training, its memory, and a signal at each step. Prints only."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from loop_kills import ALL, kill_and_repeat
from loop_shop import LoopShop
from rich.console import Console
from rich.table import Table

from wms.errors import run_main
from wms_ops.demo.memory import MemoryWatch
from wms_ops.runs.record import STEPS, RunRecord


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench-loop", description=__doc__)
    parser.add_argument("--photos", type=int, default=25, help="pairs of each push (default %(default)s)")
    parser.add_argument("--kill", default=",".join(ALL), help="steps to SIGKILL at, or nothing (default: all)")
    parser.add_argument("--interrupt", default="", help="steps to press Ctrl-C at (default: none)")
    arguments = parser.parse_args(argv)
    console = Console(highlight=False, soft_wrap=True)
    with tempfile.TemporaryDirectory(prefix="bench-loop-") as folder:
        shop = LoopShop.open(Path(folder) / "shop", gate={"mode": "off"}, epochs=20)
        try:
            with MemoryWatch(shop.cloud.processes) as memory:
                pushes = [_push(shop, arguments.photos) for _ in range(2)]
            console.print(_times(pushes))
            console.print(f"Peak memory of all processes: {memory.peak / 2**30:.2f} GiB")
            for names, number in ((arguments.kill, signal.SIGKILL), (arguments.interrupt, signal.SIGINT)):
                if steps := [one for one in names.split(",") if one]:
                    console.print(_stops(shop, steps, number))
        finally:
            shop.close()
    return 0


def _push(shop: LoopShop, photos: int) -> tuple[float, RunRecord]:
    """Seconds of `git push` with its hook, and the record of the loop after it."""
    if shop.ledger():
        shop.shell("git", "pull", "--quiet")
    shop.commit_photos(photos)
    started = time.monotonic()
    branch = shop.push()
    seconds = time.monotonic() - started
    shop.run(branch, expect=None)
    return seconds, shop.record(branch)


def _times(pushes: list[tuple[float, RunRecord]]) -> Table:
    table = Table(title="Seconds per push", title_justify="left")
    for heading in ("", "first push", "second push"):
        table.add_column(heading, justify="right" if heading else "left")
    table.add_row("git push with its hook", *(f"{seconds:.1f}" for seconds, _ in pushes))
    for name in STEPS:
        table.add_row(name, *(f"{record.step(name).seconds:.1f}" for _, record in pushes))
    trained = [float(record.outputs.get("train_seconds", "0")) for _, record in pushes]
    table.add_row("of train: the training itself", *(f"{seconds:.1f}" for seconds in trained))
    table.add_section()
    without = [push + record.seconds - train for (push, record), train in zip(pushes, trained, strict=True)]
    table.add_row("all but the training", *(f"{seconds:.1f}" for seconds in without))
    return table


def _stops(shop: LoopShop, names: list[str], number: signal.Signals) -> Table:
    table = Table(title=f"{number.name} at each step, then run again", title_justify="left")
    for heading in ("stopped at", "was there", "second run, s", "as undisturbed"):
        table.add_column(heading)
    for name in names:
        done = kill_and_repeat(shop, name, number=number)
        table.add_row(name, "yes" if done.killed else "no", f"{done.seconds:.1f}", "; ".join(done.wrong) or "yes")
    return table


if __name__ == "__main__":
    sys.exit(run_main(main))
