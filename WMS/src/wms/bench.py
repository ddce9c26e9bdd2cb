"""`make bench-train`: our recipe and the published recipe on real photos, for the same wall time, scored alike.

Each recipe runs in a separate process. The clock counts everything that the recipe does, including its evaluations, and
stops while this benchmark scores the model at the marks. The benchmark asserts nothing: it prints figures, and keeps
them in results.json with a plot.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from wms.bench_contended import compare, measure
from wms.command import any_path, number, whole
from wms.config import RunConfig, load_config
from wms.errors import DataNotFoundError, UsageError, run_main
from wms.files import parse_json, write_atomic
from wms.json_text import to_json
from wms.paths import ROOT
from wms.pictures import draw
from wms.regular import read_regular
from wms.settings import RealDataSettings
from wms.tables import Column, make_table, plain_console

GOALS = (0.80, 0.90, 0.9275, 0.945)
_CONTENDED_S = 20.0
EARLY = tuple(10 * 1.5**step for step in range(7))
"""Seconds at which the validation photos are scored too: a quick recipe passes a slow recipe's best score before its
own first validation."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the recipes in sequence and print the measurements. Raises WmsError."""
    parser = argparse.ArgumentParser(prog="make bench-train", description=__doc__)
    parser.add_argument("--recipes", default="train,published", help="names in WMS/configs (default %(default)s)")
    parser.add_argument(
        "--minutes", type=number(0.01, 10_000), default=30.0, help="wall time for each (default %(default)s)"
    )
    parser.add_argument("--folder", type=any_path, default=ROOT / "runs" / "bench", help="where results go")
    parser.add_argument("--seed", type=whole(0, 2**32 - 1), help="instead of the recipes' own")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--contended", action="store_true", help="speed beside 0, 1, 2 and 4 busy processes instead")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # the child process of one recipe
    arguments = parser.parse_args(argv)
    data = _real_data()
    if arguments.one:
        _run_one(arguments, data)
        return 0
    if arguments.contended:
        compare(["--one", "train", "--contended", "--folder", str(arguments.folder)], arguments.folder)
        return 0
    results = {}
    for name in arguments.recipes.split(","):
        if not (ROOT / "WMS/configs" / f"{name}.yaml").is_file():
            raise UsageError(f"There is no recipe {name!r} in WMS/configs; --recipes takes names such as train.")
        command = [sys.executable, "-m", "wms.bench", "--one", name, "--minutes", str(arguments.minutes)]
        command += ["--folder", str(arguments.folder), "--device", arguments.device]
        command += ["--seed", str(arguments.seed)] if arguments.seed is not None else []
        code = subprocess.run(command, check=False).returncode
        if code:
            return code
    for path in sorted(arguments.folder.glob("result_*.json")):
        results[path.stem.removeprefix("result_")] = parse_json(path.read_text(encoding="utf-8"))
    write_atomic(arguments.folder / "results.json", to_json(results, indent=1) + "\n")
    _print(results)
    print(f"Plot: {_plot(results, arguments.folder / 'bench.png')}")
    return 0


def _real_data() -> Path:
    folder = RealDataSettings.read().wms_real_data
    if not folder or not (Path(folder) / "base" / "images").is_dir():
        raise DataNotFoundError(
            "The benchmark needs real photos: set WMS_REAL_DATA to a folder with base/images, base/masks and, for "
            "photos that nobody trained on, new/images and new/masks."
        )
    return Path(folder)


def _run_one(arguments: argparse.Namespace, data: Path) -> None:
    from wms.training.request import Request
    from wms.training.train import run_training

    name, folder = arguments.one, arguments.folder
    changes: dict[str, Any] = {
        "data__folder": str(data / "base"),
        "data__splits_file": str(folder / "splits.jsonl"),
        "data__cache_folder": str(ROOT / ".cache" / "decoded"),
    }
    if arguments.seed is not None:
        changes["seed"] = arguments.seed
    config = load_config(ROOT / "WMS/configs" / f"{name}.yaml").with_changes(**changes)
    if arguments.contended:
        found = measure(config, data / "base", folder, _CONTENDED_S)
        write_atomic(folder / "contended.json", to_json(found) + "\n")
        return
    clock = Clock(config, data, arguments.minutes * 60)
    result = run_training(config, Request(runs=folder, device=arguments.device, watch=clock))
    if result is not None:
        clock.write(result, folder / f"result_{name}.json")


class Clock:
    """Watches a run: scores the model at marks with the clock stopped, and ends the run when the time is over."""

    def __init__(self, config: RunConfig, data: Path, limit: float, early: Sequence[float] = EARLY) -> None:
        self.config, self.data, self.limit = config, data, limit
        self.early = list(early)
        thirds = [limit / 3, 2 * limit / 3, limit]
        self.marks = [mark for mark in thirds if mark > 0]
        self.curve: list[dict[str, float]] = []
        self.validation: list[dict[str, float]] = []
        self.first_step: float | None = None
        self.started: float | None = None
        self.paused = 0.0
        self.trainer: Any = None
        self.ended = 0.0

    def __call__(self, trainer: Any, progress: Any) -> None:
        self.trainer = trainer
        now = time.time()
        if self.started is None:
            self.first_step = now - psutil.Process().create_time()
            # The clock starts at the end of the first step, so that step isn't counted: its time is negligible.
            self.started = now
        elapsed = now - self.started - self.paused
        self.ended = elapsed
        validated = trainer.validated.get("dice")
        is_due = bool(self.early) and elapsed >= self.early[0]
        self.early = [second for second in self.early if second > elapsed]
        if progress.message and validated is not None and "val Dice" in progress.message:
            self.validation.append({"seconds": elapsed, "dice": validated})
        elif is_due:
            self.validation.append({"seconds": elapsed, "dice": self._score(trainer.scored, "val")["dice"]})
        if self.marks and elapsed >= self.marks[0]:
            self.curve.append({"minutes": self.marks.pop(0) / 60, **self._score(trainer.scored, "test")})
        self.paused += time.time() - now
        if elapsed >= self.limit:
            trainer.stop = True

    def _score(self, model: Any, split: str) -> dict[str, float]:
        from wms.training.evaluation import evaluate, mean_of

        size = self.config.training.size_at(self.trainer.at.epoch)
        processes = self.trainer.processes
        scores = evaluate(model, self.trainer.splits[split], self.config, size=size, processes=processes)
        return {name: mean_of(scores, name) for name in ("dice", "iou")}

    def unseen(self) -> list[Any]:
        """Scores on the photos of `new/`, which no split holds; empty if the folder has no photos."""
        from wms.training.evaluation import evaluate, trained
        from wms.training.prepare import hash_samples

        if not (self.data / "new" / "images").is_dir():
            return []
        samples, processes = hash_samples(self.data / "new", self.config), self.trainer.processes
        model = trained(self.config, self.trainer.best, processes.device)
        return evaluate(model, samples, self.config, size=self.config.input_size, processes=processes)

    def write(self, result: Any, path: Path) -> None:
        """Write every measurement to `path` as JSON."""
        from wms.training.memory import peak_bytes
        from wms.training.tracker import read_metrics

        metrics = read_metrics(result.run_dir)
        speed = metrics.filter((metrics["phase"] == "system") & (metrics["metric"] == "images_per_s"))
        sizes: dict[str, list[float]] = {}
        for epoch, value in zip(speed["epoch"], speed["value"], strict=True):
            sizes.setdefault(str(self.config.training.size_at(epoch)), []).append(value)
        unseen = self.unseen()
        scores = parse_json(read_regular(result.run_dir / "artifacts" / "test_scores.json"))
        worst = sorted((row["dice"], row["stem"]) for row in scores)[:5]
        mean = {n: sum(getattr(s, n) for s in unseen) / len(unseen) for n in ("dice", "iou")} if unseen else {}
        passed = {
            str(goal): next((v["seconds"] / 60 for v in self.validation if v["dice"] >= goal), None) for goal in GOALS
        }
        report = {
            "minutes": self.ended / 60,
            "test_dice": result.test_dice,
            "test_iou": result.test_iou,
            "test_images": len(scores),
            "unseen": {**mean, "images": len(unseen)},
            "marks": self.curve,
            "validation": self.validation,
            "passed_minutes": passed,
            "images_per_s": {size: sum(values) / len(values) for size, values in sizes.items()},
            "peak_memory_gib": peak_bytes() / 2**30,
            "start_to_first_step_s": self.first_step,
            "worst": worst,
            "run": result.run_dir.name,
        }
        write_atomic(path, to_json(report, indent=1) + "\n")


def _print(results: dict[str, Any]) -> None:
    columns = [Column(""), *(Column(name, justify="right") for name in results)]
    rows: list[list[str]] = []

    def row(label: str, values: list[str]) -> None:
        rows.append([label, *values])

    every = list(results.values())
    row("minutes of training", [f"{r['minutes']:.1f}" for r in every])
    row("test Dice / IoU", [f"{r['test_dice']:.4f} / {r['test_iou']:.4f}" for r in every])
    row("unseen Dice / IoU", [_pair(r["unseen"]) for r in every])
    for index in range(max((len(r["marks"]) for r in every), default=0)):
        cells = [r["marks"][index] if index < len(r["marks"]) else None for r in every]
        minutes = next(cell["minutes"] for cell in cells if cell)
        row(f"test Dice at {minutes:.0f} min", [f"{cell['dice']:.4f}" if cell else "-" for cell in cells])
    for goal in GOALS:
        cells = [r["passed_minutes"][str(goal)] for r in every]
        row(f"validation Dice {goal} after", [f"{cell:.1f} min" if cell is not None else "-" for cell in cells])
    row("images/s by side", [", ".join(f"{s} px: {v:.1f}" for s, v in r["images_per_s"].items()) for r in every])
    row("peak memory", [f"{r['peak_memory_gib']:.2f} GiB" for r in every])
    row("start to first step", [f"{r['start_to_first_step_s']:.1f} s" for r in every])
    console = plain_console(width=max(100, Console().width))
    console.print(make_table(columns, rows, title="Training on real photos, same wall time, same evaluation"))
    for name, result in results.items():
        worst = ", ".join(f"{stem} {dice:.2f}" for dice, stem in result["worst"])
        console.print(f"{name}: worst test photos: {worst}")
    _print_ratio(results)


def _print_ratio(results: dict[str, Any]) -> None:
    """Print how much sooner our recipe reaches the best validation Dice of the published recipe."""
    if not {"train", "published"} <= results.keys() or not results["published"]["validation"]:
        return
    reached = max(results["published"]["validation"], key=lambda v: v["dice"])
    ours = next((v for v in results["train"]["validation"] if v["dice"] >= reached["dice"]), None)
    if ours is None:
        print(f"train never reached published's best validation Dice, {reached['dice']:.4f}.")
        return
    ratio = reached["seconds"] / ours["seconds"]
    print(
        f"Validation Dice {reached['dice']:.4f}, the best of published's: published after {reached['seconds']:.0f} s, "
        f"train passed it after {ours['seconds']:.0f} s, {ratio:.1f} times sooner."
    )


def _pair(scores: dict[str, float]) -> str:
    return f"{scores['dice']:.4f} / {scores['iou']:.4f}" if "dice" in scores else "-"


def _plot(results: dict[str, Any], path: Path) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, result in results.items():
        minutes = [v["seconds"] / 60 for v in result["validation"]]
        axes.plot(minutes, [v["dice"] for v in result["validation"]], marker=".", label=f"{name}, validation")
        marks = result["marks"]
        axes.plot([m["minutes"] for m in marks], [m["dice"] for m in marks], "x", label=f"{name}, test")
    axes.set(xlabel="minutes of training", ylabel="Dice", ylim=(0, 1), title="Real photos, same machine")
    axes.grid(alpha=0.3)
    axes.legend()
    write_atomic(path, draw(figure))
    return path


if __name__ == "__main__":
    raise SystemExit(run_main(main))
