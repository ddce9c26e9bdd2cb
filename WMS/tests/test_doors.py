"""The file names that the project's owner chose: two lines each, and the command behind them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from qa_data import make

ROOT = Path(__file__).resolve().parents[2]
DOORS = {
    "WMS/src/train.py": "train",
    "WMS/src/predicts.py": "predict",
    "WMS/src/prepareDataset.py": "data prepare",
    "WMS/scripts/check_model.py": "versions list",
    "WMS/scripts/show_metrics.py": "versions scores",
    "WMS/scripts/sync_model.py": "sync",
    "WMS/scripts/sync_model_aws.py": "sync",
    "devops/scripts/data-qa.py": "data check",
    "devops/scripts/quality-gate.py": "gate",
    "devops/scripts/get-baseline-metrics.py": "versions baseline",
    "devops/scripts/promote-model.py": "promote",
    "devops/scripts/update-model-metadata.py": "versions metadata",
}


def test_every_script_is_a_door() -> None:
    there = {str(path.relative_to(ROOT)) for folder in ("WMS/src", "WMS/scripts", "devops/scripts")
             for path in (ROOT / folder).glob("*.py")}  # fmt: skip
    assert there == set(DOORS)


@pytest.mark.parametrize("path", DOORS)
def test_a_door_leads_to_its_command_from_any_folder(path: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / path), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True, env={})
    assert done.stdout.startswith(f"usage: wms {DOORS[path]} ")
    assert done.stderr == ""


@pytest.fixture(scope="module")
def data_qa() -> ModuleType:
    """devops/scripts/data-qa.py, imported by its path as other programs do."""
    spec = importlib.util.spec_from_file_location("data_qa", ROOT / "devops/scripts/data-qa.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_validate_data_returns_the_report_that_the_contract_names(data_qa: ModuleType, tmp_path: Path) -> None:
    report = data_qa.validate_data(make(tmp_path / "good", 2), cache_folder=tmp_path / "cache")
    assert {"status", "image_count", "mask_count", "valid_pairs", "errors", "warnings", "statistics"} <= set(report)
    assert (report["status"], report["valid_pairs"], report["errors"]) == ("PASS", 2, [])
    assert {"resolution", "median_coverage_%"} <= set(report["statistics"])


def test_validate_data_names_missing_folders(data_qa: ModuleType, tmp_path: Path) -> None:
    report = data_qa.validate_data(tmp_path, cache_folder=tmp_path / "cache")
    assert report["status"] == "FAIL"
    assert any(text.startswith("Images directory not found: ") for text in report["errors"])
    assert any(text.startswith("Masks directory not found: ") for text in report["errors"])
