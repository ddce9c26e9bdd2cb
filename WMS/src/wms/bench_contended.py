"""`make bench-train ARGS=--contended`: training and prediction beside 0, 1, 2 and 4 busy processes.

On a machine of `cores` cores with `busy` other processes, a fair share is cores / (cores + busy) of the speed on an
idle machine. The benchmark asserts nothing: it prints images per second beside the fair share and keeps them in
contended.json.
"""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil

from wms.config import RunConfig
from wms.files import parse_json, write_atomic
from wms.json_text import to_json
from wms.tables import Column, print_table

BUSY: Final = (0, 1, 2, 4)
SIZE: Final = 128
_WARM_S: Final = 5.0


class Meter:
    """Watches a training: counts images after the first seconds, and ends the training `seconds` later."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.began: float | None = None
        self._first: tuple[float, int] | None = None
        self._seen = self.images_per_s = 0.0
        self._images = 0

    def __call__(self, trainer: Any, _: object) -> None:
        """Called after each step."""
        now = time.monotonic()
        self._images += trainer.config.training.batch_size
        self.began = now if self.began is None else self.began
        # The first seconds fill caches and settle the number of threads: they would distort the speed.
        if self._first is None:
            if now - self.began >= _WARM_S:
                self._first = now, self._images
            return
        elapsed = now - self._first[0]
        if elapsed >= self.seconds:
            self.images_per_s = (self._images - self._first[1]) / elapsed
            trainer.stop = True


def measure(config: RunConfig, data: Path, folder: Path, seconds: float) -> dict[str, float]:
    """Images per second of training at 128 px and photos per second of prediction, `seconds` each, at this load."""
    from wms.data.images import read_image
    from wms.data.pairs import find_pairs
    from wms.inference.predictor import Predictor
    from wms.training.request import Request
    from wms.training.train import run_training

    meter = Meter(seconds)
    stages = [{"size": SIZE, "epochs": 10_000}]
    config = config.with_changes(training__stages=stages, training__evaluate_every=10_000)
    result = run_training(config, Request(runs=folder, device="cpu", quiet=True, watch=meter))
    if result is None:
        raise RuntimeError("a training in one process gives a result")
    predictor = Predictor(result.model)
    photos = [read_image(pair.image) for pair in find_pairs(data)[:16]]
    predictor.predict(photos[0])
    count, began = 0, time.monotonic()
    while time.monotonic() - began < seconds:
        predictor.predict(photos[count % len(photos)])
        count += 1
    return {"training": meter.images_per_s, "prediction": count / (time.monotonic() - began)}


def compare(arguments: Sequence[str], folder: Path, busy: Sequence[int] = BUSY) -> list[dict[str, float]]:
    """Run the command `arguments` beside each number of busy processes; write the figures to contended.json.

    Raises CalledProcessError if the command fails.
    """
    rows = []
    for count in busy:
        print(f"Beside {count} busy processes.", flush=True)
        with busy_processes(count):
            subprocess.run([sys.executable, "-m", "wms.bench", *arguments], check=True)
        rows.append({"busy": count, **parse_json((folder / "contended.json").read_bytes())})
    write_atomic(folder / "contended.json", to_json(rows, indent=1) + "\n")
    _print(rows)
    return rows


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Keep `count` processes computing during the `with` block, each able to fill a whole core."""
    context = multiprocessing.get_context("spawn")
    running = [context.Process(target=_compute, daemon=True) for _ in range(count)]
    try:
        for process in running:
            process.start()
        yield
    finally:
        for process in running:
            process.kill()
            process.join()


def _compute() -> None:
    while True:
        pass


def _print(rows: Sequence[dict[str, float]]) -> None:
    cores = psutil.cpu_count() or 1
    share_of = "of its share"
    headings = ("busy processes", "fair share", "training, images/s", share_of, "prediction, photos/s", share_of)
    lines = []
    for row in rows:
        share = cores / (cores + row["busy"])
        cells = [f"{row['busy']:.0f}", f"{share:.0%}"]
        for kind in ("training", "prediction"):
            cells += [f"{row[kind]:.1f}", f"{row[kind] / (rows[0][kind] * share):.0%}"]
        lines.append(cells)
    columns = [Column(heading, justify="right") for heading in headings]
    print_table(columns, lines, title=f"Beside other programs, {cores} cores, training at {SIZE} px")
