"""The gate's settings are on record, and a second try with looser ones promotes nothing without a reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from gate_runs import MODEL, STRICT, GateRuns

from wms.errors import run_main
from wms.registry.gate_tries import SUFFIX
from wms.registry.ledger import Ledger
from wms.registry.verdicts import begin
from wms_ops.commands.ledger import COMMAND as LEDGER
from wms_ops.commands.promote import PROMOTE

pytest_plugins = ["gate_fixtures"]
DIFFERENCES = (
    "min_improvement was 0.9 and is 0, min_confidence was 0.95 and is 0, max_regression_per_image was 0.5 and is 1"
)


def promote(run_id: str, tmp_path: Path, *more: str) -> int:
    where = ["--ledger", str(tmp_path / "models"), "--metadata", str(tmp_path / "model-metadata.json")]
    return run_main(PROMOTE, [run_id, "--yes", *more, *where])


def test_a_looser_second_try_is_told_and_refused_without_a_reason(
    refused: GateRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, page, text = refused, tmp_path / "page.html", tmp_path / "report.md"
    strict = runs.verdict(runs.good)
    assert strict.settings is not None and strict.settings.values["min_confidence"] == 0.95
    assert runs.gate(runs.good, "--report", text, "--html", page) == 90
    told = capsys.readouterr()
    markdown = text.read_text().replace("\\_", "_")
    for said in (told.out, told.err, markdown, page.read_text()):
        assert DIFFERENCES in said
    assert "**Held back.**" in markdown
    begins = "Held back after a refusal by stricter settings"
    assert told.out.startswith(begins) and f"error: {begins}" in told.err, "the refusal comes first"
    assert "The challenger improves" not in told.out + told.err
    for said in (told.out, markdown, page.read_text()):
        assert "mode enforce, min_improvement 0, min_confidence 0, max_regression_per_image 1, floor 0, " in said
        assert "small.yaml on this machine" in said
    verdict, tags = runs.verdict(runs.good), runs.registry.run(runs.good).tags
    assert verdict.decision == tags["gate.decision"] == "improved", "the scores are as they are"
    assert verdict.settings is not None and tags["gate.settings"] == verdict.settings.text
    assert DIFFERENCES in verdict.held_back and tags["gate.reason"] == verdict.held_back
    assert promote(runs.good, tmp_path) == 90
    assert DIFFERENCES in capsys.readouterr().err
    assert [version.run_id for version in runs.registry.versions()] == [runs.weak]
    assert promote(runs.good, tmp_path, "--force", "the limit was meant for later") == 0
    (entry,) = Ledger(tmp_path / "models").entries()
    said = "forced: the limit was meant for later (gate: improved, held back)"
    assert entry.verdict == said and entry.gate == verdict.settings
    capsys.readouterr()
    assert run_main(LEDGER, [str(tmp_path / "models")]) == 0
    assert f"the gate's settings: {verdict.settings.text}" in capsys.readouterr().out


def test_an_equal_or_a_stricter_second_try_is_a_verdict_like_any(refused: GateRuns, tmp_path: Path) -> None:
    runs = refused
    for settings in (STRICT, STRICT | {"min_confidence": 0.99, "slices": ["coverage"]}):
        assert runs.gate(runs.good, recipe=runs.recipe_with(**settings)) == 90
        assert runs.verdict(runs.good).held_back == ""
    runs.produce(runs.weak)  # no gate has decided
    for _ in range(2):
        assert runs.gate(runs.good) == 0
    assert promote(runs.good, tmp_path) == 0
    (entry,) = Ledger(tmp_path / "models").entries()
    assert entry.verdict == "improved" and entry.gate is not None and entry.gate.values["min_improvement"] == 0


@pytest.mark.parametrize("mode", ["dry-run", "off"])
def test_a_mode_that_refuses_less_is_looser(
    refused: GateRuns, mode: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = refused
    assert runs.gate(runs.good, recipe=runs.recipe_with(**STRICT | {"mode": mode})) == {"dry-run": 0, "off": 90}[mode]
    told = capsys.readouterr().out
    assert f"mode was enforce and is {mode}. A looser second try promotes nothing" in told
    assert "would pass" not in told
    assert promote(runs.good, tmp_path) == 90


def test_a_dry_run_says_that_enforce_would_hold_the_model_back(
    refused: GateRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, text = refused, tmp_path / "report.md"
    assert runs.gate(runs.good, "--report", text, recipe=runs.recipe_with(mode="dry-run")) == 0
    for told in (capsys.readouterr().out, text.read_text()):
        assert "would pass" not in told and "(dry run: enforce would hold it back)" in told


def test_the_same_weights_under_another_run_are_the_same_model(
    refused: GateRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = refused
    again = runs.variant("trained-once-more")
    assert runs.gate(again) == 90
    assert f"refused this model in run {runs.good}" in capsys.readouterr().out
    assert DIFFERENCES in runs.verdict(again).held_back


def test_a_refusal_is_remembered_after_a_killed_gate_and_without_its_record(
    refused: GateRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A person may delete what the registry keeps: the next gate notices and decides nothing."""
    from mlflow import MlflowClient

    runs, client = refused, MlflowClient(refused.server.uri)
    begin(runs.registry, runs.good, "enforce")  # killed there
    assert runs.gate(runs.good) == 90
    strict = runs.recipe_with(**STRICT)
    assert runs.gate(runs.good, recipe=strict) == 90
    for version in client.search_model_versions(f"name='{MODEL}{SUFFIX}'"):
        client.delete_model_version(f"{MODEL}{SUFFIX}", version.version)
    capsys.readouterr()
    assert runs.gate(runs.good) == 91
    assert f"the log of verdicts {MODEL}{SUFFIX} was cut or edited (a verdict is gone" in capsys.readouterr().err
    assert promote(runs.good, tmp_path) == 91
