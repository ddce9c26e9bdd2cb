"""Scripts that a Python without this project's libraries runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from wms import start
from wms.paths import ROOT

FOLDERS = ("WMS/src", "WMS/scripts", "devops/scripts")
SCRIPTS = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_without_its_libraries_says_so(script: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", str(script), "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"error: {sys.executable} lacks "), done.stderr
    group = " FOR=train" if script.stem in ("train", "prepareDataset") else ""
    assert f"run `make install{group}` in {ROOT}" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_old_python_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(start, "OLDEST", (9, 0))
    assert start.run_script("wms.errors:run_main") == 2
    assert "is too old; run `make install`" in capsys.readouterr().err


def test_a_missing_module_of_our_own_is_a_bug() -> None:
    with pytest.raises(ModuleNotFoundError):
        start.run_script("wms.nothing:main")
