"""The file names that the project's owner chose: two lines each, and the command behind them."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from entrance_table import REFUSED, Row
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


# What a clone without .venv meets: a Python of the system, older or without any package.
BARE = """
import os, runpy, sys
age, script, *arguments = sys.argv[1:]
sys.argv = [script, *arguments]
if age == "old":
    sys.version_info = (3, 9, 18, "final", 0)
    sys.modules["tomllib"] = None
if script == "wms_ops":
    sys.path[:0] = os.environ["CODE"].split(os.pathsep)
    runpy.run_module(script, run_name="__main__", alter_sys=True)
else:
    sys.path.insert(0, os.path.dirname(script))
    runpy.run_path(script, run_name="__main__")
"""


@pytest.mark.parametrize(("path", "age"), [*((path, "old") for path in (*DOORS, "wms_ops")), ("wms_ops", "bare")])
def test_a_python_without_the_packages_gets_one_sentence(path: str, age: str, tmp_path: Path, entrance: Row) -> None:
    # devops/scripts/*.sh start `python -m wms_ops cloud ...`; its own --help needs no package.
    arguments = ["wms_ops", "cloud", "stop"] if path == "wms_ops" else [str(ROOT / path), "--help"]
    code = os.pathsep.join(str(ROOT / folder) for folder in ("WMS/src", "devops/src"))
    command = [sys.executable, "-I", "-S", "-c", BARE, age, *arguments]
    environ = {**os.environ, "CODE": code}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    said = "is too old; run `make install" if age == "old" else ", which this command needs; run `make install"
    assert said in done.stderr and done.stderr.count("\n") == 1
    entrance("the rest", f"{path} with {age} Python, no .venv", "code 2, one line: `make install`", REFUSED)


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
