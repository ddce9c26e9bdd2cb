"""Commands about data without an option for a recipe take the settings of the repository's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from small import photos

from wms.config import own_data_settings
from wms.data.qa.cli import COMMAND as CHECK
from wms.errors import ConfigError, DataQualityError, run_main


def test_the_check_refuses_what_the_recipe_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = photos(tmp_path, 2)
    own = tmp_path / "own.yaml"
    monkeypatch.setattr("wms.config.RECIPE", own)
    cache = tmp_path / "cache"
    words = [str(folder), "--cache", str(cache), "--splits", str(tmp_path / "splits.jsonl"), "--workers", "1"]
    assert own_data_settings().max_megapixels == 50
    assert run_main(CHECK, words) == 0
    own.write_text("name: t\ntraining: {stages: [{size: 64, epochs: 1}]}\ndata: {max_megapixels: 0.0005}\n")
    assert run_main(CHECK, words) == DataQualityError.exit_code
    assert "0.0005 megapixels allowed" in capsys.readouterr().out
    own.write_text("data: 7\n")
    assert run_main(CHECK, words) == ConfigError.exit_code
