"""The report of a run: a self-contained HTML file, and two PNG files for a tracking server.

Every value is escaped, every picture is a data URI, and a content security policy forbids all loading: the page may be
mailed, archived or opened from an artifact store.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from wms.files import write_atomic
from wms.inference.overlay import Mask
from wms.metrics import FINAL_DICE, FINAL_IOU
from wms.pages import render
from wms.pictures import data_uri
from wms.text import flattened
from wms.training.report_figures import CURVES, DARK, LIGHT, ImageCase, draw_curves, draw_samples, pictures

__all__ = ["ImageCase", "write_report"]

FAILED_DICE: Final = 0.5
NOT_RECORDED: Final = "not recorded"
WORST: Final = 3  # photos that are shown

_HASH_DIGITS = 12


def write_report(
    run_dir: Path,
    *,
    title: str,
    config: Mapping[str, Any],
    metadata: Mapping[str, Any],
    metrics: pl.DataFrame,
    cases: Sequence[ImageCase],
    summary: Mapping[str, float],
) -> Path:
    """Write report.html, curves.png and samples.png into run_dir/artifacts; return the page's path.

    `metrics` has the columns epoch, phase, metric and value (others are ignored) and may be empty. `metadata` may hold
    config_hash, data_version, git_commit, machine and duration_s (seconds); other keys are listed. `summary` holds
    final_test_dice and final_test_iou, and best_epoch if that isn't the epoch with the highest validation Dice. Raises
    UnwritableError or DiskFullError.
    """
    curves = _tidy(metrics)
    best_epoch = _best_epoch(curves, summary)
    ranked = sorted(cases, key=_rank)
    shown = _choose(ranked)
    curves_png = draw_curves(curves, best_epoch, LIGHT)
    values = {
        "title": title,
        "facts": _facts(metadata, summary),
        "warnings": _warnings(ranked, curves),
        "best_epoch": best_epoch,
        "curves_light": data_uri(curves_png, "png"),
        "curves_dark": data_uri(draw_curves(curves, best_epoch, DARK), "png"),
        "samples": [{"label": label, **_row(case), "pictures": pictures(case)} for label, case in shown],
        "rows": [_row(case) for case in ranked],
        "details": [("Metrics", _flat(summary)), ("Configuration", _flat(config)), ("Origin", _flat(metadata))],
    }
    page = render(Path(__file__).with_name("report.html.j2"), values, number=_number).encode(errors="replace")
    folder = run_dir / "artifacts"
    for name, content in (("report.html", page), ("curves.png", curves_png), ("samples.png", draw_samples(shown))):
        write_atomic(folder / name, content)
    return folder / "report.html"


def _tidy(metrics: pl.DataFrame) -> pl.DataFrame:
    """The finite training and validation values: epoch, phase, metric, value (the epoch's mean), by epoch."""
    if metrics.is_empty():
        return pl.DataFrame(schema={"epoch": pl.Int64, "phase": pl.String, "metric": pl.String, "value": pl.Float64})
    return (
        metrics.filter(
            pl.col("phase").is_in(["train", "val"]),
            pl.col("metric").is_in([metric for metric, _ in CURVES]),
            pl.col("epoch").is_not_null(),
            pl.col("value").is_finite(),
        )
        .group_by("epoch", "phase", "metric")
        .agg(pl.col("value").mean())
        .sort("epoch")
    )


def _best_epoch(curves: pl.DataFrame, summary: Mapping[str, float]) -> int | None:
    if "best_epoch" in summary and math.isfinite(summary["best_epoch"]):
        return int(summary["best_epoch"])
    scores = curves.filter(pl.col("phase") == "val", pl.col("metric") == "dice").sort("value", descending=True)
    return None if scores.is_empty() else int(scores["epoch"][0])


def _rank(case: ImageCase) -> tuple[float, str]:
    return (case.dice if math.isfinite(case.dice) else -1.0, case.stem)


def _choose(ranked: Sequence[ImageCase]) -> list[tuple[str, ImageCase]]:
    """The best, the median and the worst photos, each at most once."""
    if not ranked:
        return []
    places = {len(ranked) - 1: "Best"}
    places.setdefault(len(ranked) // 2, "Median")
    for place in range(min(WORST, len(ranked))):
        places.setdefault(place, "Worst" if place == 0 else f"Worst, number {place + 1}")
    return [(label, ranked[place]) for place, label in places.items()]


def _percent(mask: Mask) -> float:
    return float(100 * mask.mean()) if mask.size else 0.0


def _row(case: ImageCase) -> dict[str, Any]:
    return {
        "stem": case.stem,
        "dice": case.dice,
        "iou": case.iou,
        "truth": _percent(case.truth),
        "prediction": _percent(case.prediction),
        "failed": not case.dice >= FAILED_DICE,
    }


def _number(value: object, digits: int = 4) -> str:
    if isinstance(value, float):
        return f"{value:.{digits}f}" if math.isfinite(value) else "not defined"
    return NOT_RECORDED if value is None else str(value)


def _duration(seconds: object) -> str:
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return NOT_RECORDED
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _facts(metadata: Mapping[str, Any], summary: Mapping[str, float]) -> list[tuple[str, str]]:
    """The header's facts as pairs of label and text."""
    hashes = (("Configuration", "config_hash"), ("Data version", "data_version"), ("Git commit", "git_commit"))
    return [
        ("Test Dice", _number(summary.get(FINAL_DICE))),
        ("Test IoU", _number(summary.get(FINAL_IOU))),
        # Enough to tell versions apart; metadata.json has the full values.
        *((label, _number(metadata.get(key))[:_HASH_DIGITS]) for label, key in hashes),
        ("Machine", _machine(metadata.get("machine"))),
        ("Duration", _duration(metadata.get("duration_s"))),
    ]


def _machine(machine: object) -> str:
    if not isinstance(machine, Mapping):
        return _number(machine)
    return f"{machine.get('cores')} cores, {machine.get('memory_gib')} GiB, {machine.get('processor')}"


def _warnings(ranked: Sequence[ImageCase], curves: pl.DataFrame) -> list[str]:
    """Sentences on the reasons to doubt this run."""
    found = []
    failed = sum(not case.dice >= FAILED_DICE for case in ranked)
    if failed:
        verb = "fails" if failed == 1 else "fail"
        found.append(f"{failed} of {len(ranked)} photos {verb} altogether: Dice below {FAILED_DICE}.")
    empty = sum(not case.truth.any() for case in ranked)
    if empty:
        found.append(f"In {empty} of {len(ranked)} test photos the true mask is empty; check the annotation.")
    blind = sum(not case.prediction.any() for case in ranked)
    if blind:
        found.append(f"In {blind} of {len(ranked)} test photos the model found nothing.")
    if not ranked:
        found.append("This run has no test photos, so nothing is known about its quality.")
    if curves.is_empty():
        found.append("This run recorded no epoch, so there are no curves.")
    return found


def _flat(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, _number(value, 6)) for name, value in flattened(values)]
