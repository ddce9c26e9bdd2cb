"""The documents' examples of the experiment library: each runs as it stands on the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from small import photos, recipe

from wms.paths import ROOT

NAMES = (
    "RunConfig",
    "create_run_directory",
    "ExperimentTracker",
    "get_metrics",
    "get_best_metric",
    "CheckpointManager",
    "DataVersionManager",
    "PipelineStage",
    "MLOpsPipeline",
    "build_mlops_pipeline",
    "run_pipeline()",
    ".artifacts",
)


def examples(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.DOTALL)


def test_the_examples_use_every_name_of_the_library() -> None:
    text = "".join([*examples("training.md"), *examples("data-versions.md")])
    assert [name for name in NAMES if name not in text] == []


def test_the_examples_of_the_documents_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path)
    values = recipe()
    values["data"] |= {"folder": "photos", "splits_file": "splits.jsonl", "cache_folder": "cache"}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    seen: dict[str, object] = {}
    for example in [*examples("training.md"), *examples("data-versions.md")]:
        exec(compile(example, "the example", "exec"), seen)  # noqa: S102 - the page is this repository's own
    assert seen["best"] == seen["again"]
    assert seen["doubled"] == {"load": 21, "double": 42}
