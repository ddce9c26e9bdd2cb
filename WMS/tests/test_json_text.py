"""What the project writes as JSON is JSON for any parser, also of values that aren't finite."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from wms.files import parse_json
from wms.json_text import to_json
from wms.training.runs_cli import COMPARE, LIST
from wms.training.tracker import ExperimentTracker


def strict(text: str) -> Any:
    """The value of a JSON text; refuses the words that Python's reader knows and JSON doesn't."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_values_that_are_not_finite_become_strings_that_float_reads() -> None:
    values = {"a": [math.nan, (math.inf, -math.inf)], "b": 0.5, "c": None, "d": {"e": math.inf}, "f": True}
    read = strict(to_json(values))
    assert read == {"a": ["nan", ["inf", "-inf"]], "b": 0.5, "c": None, "d": {"e": "inf"}, "f": True}
    assert math.isnan(float(read["a"][0])) and float(read["a"][1][1]) == -math.inf


def test_finite_values_are_written_as_before() -> None:
    values = {"z": [1, 2.5, "ü", None], "a": {"b": ()}}
    for options in ({}, {"indent": 2}, {"sort_keys": True}, {"ensure_ascii": False, "indent": 1}):
        assert to_json(values, **options) == json.dumps(values, **options)  # type: ignore[arg-type]


def test_files_of_earlier_versions_stay_readable() -> None:
    dice, loss = parse_json('[NaN, {"loss": Infinity}]')
    assert math.isnan(dice) and loss == {"loss": math.inf}


def test_the_outputs_about_a_diverged_run_are_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ExperimentTracker(tmp_path / "run_a") as tracker:
        tracker.log("train", {"loss": math.inf}, step=0, epoch=0)
        tracker.log("test", {"dice": math.nan, "iou": -math.inf}, step=1, epoch=0)
    for line in (tmp_path / "run_a" / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        strict(line)
    assert LIST(["--runs", str(tmp_path), "--json"]) == 0
    (row,) = strict(capsys.readouterr().out)
    assert (row["final_test_dice"], row["final_test_iou"], row["best_val_dice"]) == ("nan", "-inf", None)
    assert COMPARE(["run_a", "--runs", str(tmp_path), "--metrics", "train/loss,test/dice", "--json"]) == 0
    (row,) = strict(capsys.readouterr().out)
    assert (row["best_train_loss"], row["final_test_dice"]) == (None, "nan")
