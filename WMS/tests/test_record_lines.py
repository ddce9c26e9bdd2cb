"""Lines and cards of every version are read, whatever fields a later one adds."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from test_records import V1, with_field

from wms.data.splits import SplitRecord
from wms.data.versions import DataVersionManager
from wms.errors import ModelDamagedError, SplitError, TrackingError, WmsError
from wms.inference.predictor import read_card
from wms.training.tracker import METRICS_FILE, read_records


def every(name: str, **more: object) -> str:
    return "".join(with_field(line, **more) + "\n" for line in (V1 / name).read_text(encoding="utf-8").splitlines())


def read_splits(path: Path) -> object:
    return [(one.sha256[0], one.split) for one in SplitRecord(path).entries]


def read_versions(path: Path) -> object:
    return [use.run_name for use in DataVersionManager(path.parent).runs_using("m2")]


def read_metrics(path: Path) -> object:
    return [(one.phase, one.metric, one.value) for one in read_records(path)[0]]


def read_model_card(path: Path) -> object:
    return read_card(path)["input_size"]


@pytest.mark.parametrize(
    ("name", "read", "known", "error"),
    [
        ("splits.jsonl", read_splits, [("1", "train"), ("3", "test")], SplitError),
        ("data_versions.jsonl", read_versions, ["run_1"], TrackingError),
        (METRICS_FILE, read_metrics, [("train", "loss", 0.5), ("val", "dice", 0.9)], TrackingError),
        ("production.json", read_model_card, 128, ModelDamagedError),
    ],
)
def test_lines_and_cards_of_every_version(
    tmp_path: Path, name: str, read: Any, known: object, error: type[WmsError]
) -> None:
    shutil.copytree(V1, tmp_path, dirs_exist_ok=True)
    path = tmp_path / name
    assert read(path) == known
    add = every if name.endswith(".jsonl") else lambda name, **more: with_field((V1 / name).read_text(), **more)
    path.write_text(add(name, later=1), encoding="utf-8")
    assert read(path) == known
    path.write_text(add(name, format=2), encoding="utf-8")
    with pytest.raises(error, match=r"newer version \(format 2, this one reads up to 1\); update this clone\.$"):
        read(path)
