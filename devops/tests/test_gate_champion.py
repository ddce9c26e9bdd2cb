"""The gate where something happened to Production since its training: its run was deleted, masks were drawn anew."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gate_runs import GateRuns, change_card, one_sentence
from next_preprocessing import NEXT, NEXT_NAME
from PIL import Image

from wms.data import preprocessing
from wms.data.versions import DataItem
from wms.errors import run_main
from wms.files import sha256_file
from wms.inference.export import export_again
from wms.registry.gate_types import GateReport
from wms.registry.ledger import Ledger
from wms.registry.types import PRODUCTION
from wms_ops.commands.promote import PROMOTE
from wms_ops.gate.models import scored_others

pytest_plugins = ["gate_fixtures"]


def standing(runs: GateRuns, *folders: Path) -> dict[str, Any]:
    """All that a gate which only looks must leave alone: versions, aliases, their tags; files."""
    there = (path for folder in (runs.folder / "ledger", *folders) for path in folder.rglob("*") if path.is_file())
    return {
        "versions": [(found.version, found.run_id, found.aliases, found.tags) for found in runs.registry.versions()],
        "files": {str(path): sha256_file(path) for path in (*there, runs.folder / "splits.jsonl")},
    }


def purge(runs: GateRuns, run_id: str) -> None:
    """Delete a run for good, as an administrator does; it has to be in MLflow's waste bin."""
    command = [sys.executable, "-m", "mlflow", "gc", "--run-ids", run_id, "--backend-store-uri", runs.server.backend]
    environ = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("how", ["deleted", "purged"])
def test_a_champion_whose_run_is_gone(
    runs: GateRuns, how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(runs.server.uri)
    champion = runs.variant(how)
    version = runs.produce(champion)
    client.delete_run(champion)
    if how == "purged":
        purge(runs, champion)
    before = standing(runs)
    assert runs.gate(runs.good, "--report", tmp_path / "r.md") == 91
    words = f"the run {champion} of the Production model, version {version}, is gone"
    sentence = one_sentence(capsys.readouterr().err)
    assert words in sentence
    assert f"`mlflow runs restore --run-id {champion}`, or promote with `wms promote --force" in sentence
    assert "no verdict" in (tmp_path / "r.md").read_text()
    tags = runs.registry.run(runs.good).tags
    assert (tags["gate.decision"], words in tags["gate.reason"]) == ("cannot decide", True)
    assert runs.gate(runs.good, "--json", recipe=runs.recipe_with(mode="off")) == 0
    verdict = GateReport.model_validate_json(capsys.readouterr().out).verdict
    assert (verdict.decision, verdict.champion_version) == ("not improved", version)
    assert any(words in text for text in verdict.warnings)
    assert standing(runs) == before
    # Both ways out that the sentence names.
    if how == "deleted":
        client.restore_run(champion)
        assert runs.gate(runs.good) == 90, "compared again, with its own weights"
        return
    where = ["--ledger", str(tmp_path / "models"), "--metadata", str(tmp_path / "model-metadata.json")]
    assert run_main(PROMOTE, [runs.good, "--force", "its run is gone", "--yes", *where]) == 0
    promoted = runs.registry.alias(PRODUCTION)
    assert promoted is not None
    assert promoted.run_id == runs.good


def test_a_challenger_whose_run_was_deleted(runs: GateRuns, capsys: pytest.CaptureFixture[str]) -> None:
    from mlflow import MlflowClient

    runs.produce(runs.weak)
    challenger = runs.variant("deleted-challenger")
    MlflowClient(runs.server.uri).delete_run(challenger)
    before = standing(runs)
    assert runs.gate(challenger) == 40
    sentence = one_sentence(capsys.readouterr().err)
    assert f"was deleted; bring it back with `mlflow runs restore --run-id {challenger}`" in sentence
    assert standing(runs) == before


def test_masks_that_were_drawn_anew_hold_for_both(
    runs: GateRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The champion's list of images names the old mask, the challenger's the new one, which the data set holds."""
    version = runs.produce(runs.good)
    photos = tmp_path / "photos"
    shutil.copytree(runs.folder / "photos", photos)
    rows = json.loads((runs.artifacts() / "test_scores.json").read_text())
    at_training = {row["stem"]: row["dice"] for row in rows}
    stem = max(at_training, key=at_training.__getitem__)
    (mask,) = (photos / "masks").glob(f"{stem}.*")
    with Image.open(mask) as old:
        drawn = np.roll(np.asarray(old), old.size[1] // 2, axis=0)  # the strip where the model sees none
    Image.fromarray(drawn).save(mask)

    def redrawn(items: list[DataItem]) -> list[DataItem]:
        return [replace(item, mask_sha256=sha256_file(mask)) if item.stem == stem else item for item in items]

    challenger = runs.variant("redrawn", data=redrawn)
    options = ("--data", photos, "--splits", runs.folder / "splits.jsonl", "--report", tmp_path / "r.md")
    before = standing(runs, photos)
    capsys.readouterr()  # MLflow's client greets
    assert runs.gate(challenger, "--json", *options) == 90
    said = capsys.readouterr()
    assert f"does not improve on version {version}" in one_sentence(said.err)
    report = GateReport.model_validate_json(said.out)
    words = f"trained (1, {stem} among them); both models are compared with the new ones."
    assert f"Masks were redrawn since the Production model was {words}" in report.verdict.warnings
    assert "Masks were redrawn since the Production model was trained" in (tmp_path / "r.md").read_text()
    assert {image.stem for image in report.images} == at_training.keys()
    for image in report.images:
        assert image.champion == image.challenger, "the same weights, so the same scores, with the new mask too"
        lost = at_training[image.stem] - image.challenger.dice
        assert lost > 0.3 if image.stem == stem else abs(lost) < 0.01
    assert standing(runs, photos) == before


def test_verdict_and_ledger_say_of_how_many_attempts_a_model_is_the_best(
    runs: GateRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow import MlflowClient

    runs.produce(None)

    def best_of_three(folder: Path) -> None:
        change_card(folder, attempts=3)
        shutil.copy(runs.artifacts().parent / "metadata.json", folder)

    chosen = runs.variant("chosen", edit=best_of_three)
    client = MlflowClient(runs.server.uri)
    client.set_tag(chosen, "attempts.chosen", "chosen")
    tried = [{"seed": at, "run": name} for at, name in enumerate(("chosen", "seen", "unseen", "gone"))]
    client.set_tag(chosen, "attempts.tried", json.dumps(tried))
    experiment = client.get_run(chosen).info.experiment_id
    seen, _ = (client.create_run(experiment, run_name=name).info.run_id for name in ("seen", "unseen"))
    assert scored_others(runs.registry, runs.registry.run(chosen), ()) == []
    client.log_metric(seen, "final_test_dice", 0.5)
    for name, value in runs.registry.run(runs.good).metrics.items():
        client.log_metric(chosen, name, value)
    capsys.readouterr()  # MLflow's client greets
    assert runs.gate(chosen, "--report", tmp_path / "r.md", "--html", tmp_path / "page.html") == 0
    words = "The challenger was chosen from 3 attempts on validation."
    told = capsys.readouterr().out
    assert words in told
    assert "warning: 1 other attempt of the challenger's training was scored on test images too (seen), so" in told
    assert words in (tmp_path / "r.md").read_text() and words in (tmp_path / "page.html").read_text()
    assert runs.verdict(chosen).attempts == 3
    where = ["--ledger", str(tmp_path / "models"), "--metadata", str(tmp_path / "model-metadata.json")]
    assert run_main(PROMOTE, [chosen, "--yes", *where]) == 0
    newest = Ledger(tmp_path / "models").current()
    assert newest is not None and (newest.run_id, newest.attempts) == (chosen, 3)
    # An attempt that validation didn't choose asks for nothing: the test images would choose it after all.
    runs.produce(None)
    other = runs.variant("other")
    client.set_tag(other, "attempts.chosen", "chosen")
    capsys.readouterr()
    assert runs.gate(other) == 91
    assert "is one of several attempts, of which validation chose chosen." in one_sentence(capsys.readouterr().err)


def test_an_upgrade_of_the_code_keeps_production_comparable(
    runs: GateRuns, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Production has a card of today, the challenger comes from code whose preprocessing is another one."""
    version = runs.produce(runs.weak)
    assert runs.gate(runs.good, "--json") == 0
    before = GateReport.model_validate_json(capsys.readouterr().out)
    monkeypatch.setitem(preprocessing.VERSIONS, NEXT_NAME, NEXT)

    def upgraded(folder: Path) -> None:
        change_card(folder, preprocessing=NEXT_NAME, input_size=64)
        export_again(folder / "model")

    challenger = runs.variant("upgraded", edit=upgraded)
    capsys.readouterr()  # MLflow's client greets
    assert runs.gate(challenger, "--json", "--report", tmp_path / "r.md") in (0, 90)
    report = GateReport.model_validate_json(capsys.readouterr().out)
    assert report.verdict.champion_version == version
    assert {image.stem: image.champion for image in report.images} == {
        image.stem: image.champion for image in before.images
    }
    assert {image.stem: image.challenger for image in report.images} != {
        image.stem: image.challenger for image in before.images
    }
    words = f"the challenger by {NEXT_NAME}, the Production model by {preprocessing.FIRST_PREPROCESSING}."
    assert any(words in text for text in report.verdict.warnings)
    assert words in (tmp_path / "r.md").read_text()
    # Code that doesn't know the challenger's preprocessing can't decide, and says what mends that.
    monkeypatch.delitem(preprocessing.VERSIONS, NEXT_NAME)
    assert runs.gate(challenger) == 91
    assert "update this clone with `git pull` and `wms upgrade`" in one_sentence(capsys.readouterr().err)
