"""The gate counts, on a real MLflow server, how often a test set was asked, and says so wherever a verdict is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from gate_runs import GateRuns

from wms.registry.gate_tries import TryLog

pytest_plugins = ["gate_fixtures"]
SPENT = {"min_confidence": 0.5, "repeated_use": True}


def test_verdict_and_reports_say_how_often_the_test_set_was_asked(
    runs: GateRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.produce(None)
    version = runs.produce(runs.weak)
    recipe = runs.recipe_with(**SPENT)
    runs.gate(runs.good, recipe=recipe)
    first = runs.verdict(runs.good)
    assert first.use is not None
    assert (first.use.champion_version, first.use.comparisons, first.use.gained) == (version, 0, None)
    # Two other models' verdicts: one on these photos, one when the test set had a photo less.
    log = TryLog(runs.registry)
    log.add(first.model_copy(update={"weights_sha256": "a" * 64}))
    older = {"weights_sha256": "b" * 64, "test_version": "c" * 64, "test_images": first.test_images - 1}
    log.add(first.model_copy(update=older))
    capsys.readouterr()
    page, text = tmp_path / "page.html", tmp_path / "report.md"
    assert runs.gate(runs.good, "--report", text, "--html", page, recipe=recipe) in (0, 90)
    verdict = runs.verdict(runs.good)
    assert verdict.use is not None
    assert (verdict.use.comparisons, verdict.use.same_photos, verdict.use.gained) == (2, 1, 1)
    assert verdict.use.per_photo == pytest.approx(2 - 1 / first.test_images)
    told = f"2 other models met version {version} on this test set before, 1 on exactly these photos"
    for said in (capsys.readouterr().out, text.read_text(), page.read_text()):
        assert told in said
        assert "The test set gained 1 photo since the last decision." in said
