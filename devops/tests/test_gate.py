"""The gate as users start it, on a real MLflow server with real trainings: verdicts, refusals, failures."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gate_runs import MODEL, GateRuns, change_card, change_network, one_sentence
from servers import free_port, gateway

from wms.data.versions import DataItem
from wms.registry.chain import RegistryLedger
from wms.registry.gate_types import GateReport
from wms.registry.ledger import Ledger, LedgerEntry, LedgerRecord, link
from wms.registry.types import Means

pytest_plugins = ["gate_fixtures"]
SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "quality-gate.py"


def report_of(text: str) -> GateReport:
    return GateReport.model_validate_json(text)


def test_the_first_training_passes_with_the_scores_of_training(
    runs: GateRuns, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.produce(None)
    assert runs.gate(runs.weak, "--json") == 0
    report = report_of(capsys.readouterr().out)
    assert "First training" in report.verdict.reasons[0]
    scores = json.loads((runs.artifacts("weak") / "test_scores.json").read_text())
    by_torch = {row["stem"]: (row["dice"], row["iou"]) for row in scores}
    assert len(by_torch) == len(report.images) >= 4
    for image in report.images:
        # A pixel on the edge may fall on either side: 1 of the about 100 that are marked on this small grid.
        assert (image.challenger.dice, image.challenger.iou) == pytest.approx(by_torch[image.stem], abs=0.01)
    assert report.challenger.stored is not None
    assert report.challenger.rescored is not None
    assert report.challenger.rescored.dice == pytest.approx(report.challenger.stored.dice, abs=0.002)


def test_a_better_run_passes_and_the_verdict_is_kept(runs: GateRuns, tmp_path: Path) -> None:
    version = runs.produce(runs.weak)
    files = {name: tmp_path / name for name in ("report.md", "page.html")}
    options = ["--json", "--report", str(files["report.md"]), "--html", str(files["page.html"])]
    run_name = runs.registry.run(runs.good).name
    command = [sys.executable, str(SCRIPT), *runs.command(run_name, *options)]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = report_of(done.stdout)  # nothing else stands there
    assert done.stderr == ""
    verdict = report.verdict
    assert (verdict.decision, verdict.run_id, verdict.champion_version) == ("improved", runs.good, version)
    assert report.champion is not None
    assert report.champion.run_id == runs.weak
    assert verdict.champion.dice < verdict.challenger.dice
    assert any("too small to tell" in text for text in verdict.warnings)
    assert runs.verdict(runs.good) == verdict
    card = json.loads((runs.artifacts() / "model" / "production.json").read_text())
    assert verdict.weights_sha256 == card["weights_sha256"]
    tags = runs.registry.run(runs.good).tags
    assert tags["gate.decision"] == "improved"
    assert tags["gate.champion_version"] == str(version)
    assert float(tags["gate.challenger_dice"]) == pytest.approx(verdict.challenger.dice, abs=1e-6)
    text = files["report.md"].read_text()
    assert text.startswith("## Quality gate: improved\n")
    assert f"| Dice | {verdict.champion.dice:.4f} | {verdict.challenger.dice:.4f} |" in text
    page = files["page.html"].read_text()
    assert page.count("data:image/jpeg;base64,") >= 3
    assert "http" not in page.replace("http-equiv", "")


def test_a_worse_run_and_the_same_run_are_not_improved(
    runs: GateRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.produce(runs.good)
    assert runs.gate(runs.weak, "--report", tmp_path / "r.md") == 90
    assert "does not improve on version" in one_sentence(capsys.readouterr().err)
    assert (tmp_path / "r.md").read_text().startswith("## Quality gate: not improved")
    assert runs.verdict(runs.weak).decision == "not improved"
    assert runs.gate(runs.good) == 90
    assert "exactly the weights of the Production model" in capsys.readouterr().out


def test_dry_run_and_off_let_it_pass(runs: GateRuns, capsys: pytest.CaptureFixture[str]) -> None:
    runs.produce(runs.good)
    assert runs.gate(runs.weak, recipe=runs.recipe_with(mode="dry-run")) == 0
    assert "it would fail" in capsys.readouterr().out
    assert runs.verdict(runs.weak).mode == "dry-run"
    runs.produce(runs.good)  # off after a refusal is a looser second try: test_gate_settings.py
    assert runs.gate(runs.weak, recipe=runs.recipe_with(mode="off")) == 0
    assert "THE GATE IS OFF" in capsys.readouterr().out
    verdict = runs.verdict(runs.weak)
    assert (verdict.mode, verdict.decision) == ("off", "not improved")


def as_train(items: list[DataItem]) -> list[DataItem]:
    """The same photo once more, under another name and in training."""
    test = next(item for item in items if item.split == "test")
    return [*items, replace(test, stem="renamed", mask_sha256="0" * 64, split="train")]


def one_more_test(items: list[DataItem]) -> list[DataItem]:
    return [*items, DataItem("removed_since", "a" * 64, "b" * 64, "test")]


def moved_to_test(items: list[DataItem]) -> list[DataItem]:
    chosen = next(item for item in items if item.split == "train")
    return [replace(item, split="test") if item is chosen else item for item in items]


def flip_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "leak": ({"data": as_train}, "the challenger was trained on meter_"),
    "other-split": ({"data": moved_to_test}, "the split record doesn't hold meter_"),
    "preprocessing": (
        {"edit": lambda f: change_card(f, preprocessing="raw-0")},
        "prepares photos by raw-0, which is newer than this version",
    ),
    "nan": ({"edit": lambda f: change_network(f, float("nan"))}, "aren't numbers (NaN)"),
    "empty": ({"edit": lambda f: change_network(f, -1e4)}, "marks nothing on any test image"),
    "damaged": ({"edit": lambda f: flip_byte(f / "model" / "production.onnx")}, "damaged/model/production.onnx isn't"),
    "no-weights": ({"edit": lambda f: (f / "model" / "production.pth").unlink()}, "can't be loaded"),
    "other-data": ({"edit": lambda f: flip_byte(f / "data.jsonl")}, "data.jsonl of the challenger"),
    "other-card": ({"edit": lambda f: change_card(f, data_version="c" * 64)}, "isn't the data that its model names"),
    "unfinished": ({"status": "RUNNING"}, "is running, not finished"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_challenger_that_cannot_be_compared_is_refused(
    runs: GateRuns, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.produce(runs.weak)
    settings, words = REFUSED[name]
    run_id = runs.variant(name, **settings)
    capsys.readouterr()  # MLflow's client greets
    assert runs.gate(run_id, "--json", "--report", tmp_path / "r.md") == 91
    output = capsys.readouterr()
    assert words in one_sentence(output.err)
    assert output.out == ""
    assert "no verdict" in (tmp_path / "r.md").read_text()
    assert runs.registry.run(run_id).tags["gate.decision"] == "cannot decide"


CHAMPION: dict[str, tuple[dict[str, Any], str]] = {
    "trained-on-test": ({"data": as_train}, "the Production model was trained on meter_"),
    "lost-a-test-image": ({"data": one_more_test}, "removed_since is no longer in the challenger's test set"),
    "no-manifest": ({"edit": lambda f: (f / "data.jsonl").unlink()}, "doesn't say which images it was trained on"),
    "champion-damaged": ({"edit": lambda f: flip_byte(f / "model" / "production.pth")}, "can't be loaded"),
    "champion-empty": ({"edit": lambda f: change_network(f, -1e4)}, "marks nothing on any test image"),
    "champion-nan": ({"edit": lambda f: change_network(f, float("nan"))}, "aren't numbers (NaN)"),
}


@pytest.mark.parametrize("name", CHAMPION)
def test_a_champion_that_cannot_be_compared_is_refused(
    runs: GateRuns, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, words = CHAMPION[name]
    version = runs.produce(runs.variant(name, **settings))
    assert runs.gate(runs.good) == 91
    assert words in one_sentence(capsys.readouterr().err)
    # Dry run tells the same and doesn't fail; off goes on, loudly, and never takes it for a first training.
    assert runs.gate(runs.good, recipe=runs.recipe_with(mode="dry-run")) == 0
    assert words in capsys.readouterr().err
    if name != "champion-nan":
        assert runs.gate(runs.good, "--json", recipe=runs.recipe_with(mode="off")) == 0
        report = report_of(capsys.readouterr().out)
        assert report.verdict.champion_version == version
        assert any(words in text for text in report.verdict.warnings)


def test_a_card_of_an_older_export_counts_as_the_first_preprocessing(runs: GateRuns) -> None:
    runs.produce(runs.weak)
    assert runs.gate(runs.variant("older", edit=lambda folder: change_card(folder, preprocessing=None))) == 0


@pytest.fixture
def moved(runs: GateRuns, tmp_path: Path) -> Path:
    """A copy of the data set to do damage to."""
    shutil.copytree(runs.folder / "photos", tmp_path / "photos")
    return tmp_path / "photos"


def test_test_images_are_found_by_content_or_refused(
    runs: GateRuns, moved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.produce(runs.weak)
    options = ("--data", moved, "--splits", runs.folder / "splits.jsonl")
    item = next(item for item in runs.items() if item.split == "test")
    (photo,) = (moved / "images").glob(f"{item.stem}.*")
    (mask,) = (moved / "masks").glob(f"{item.stem}.*")
    photo = photo.rename(photo.with_stem("renamed"))
    assert runs.gate(runs.good, *options) == 0
    flip_byte(mask)
    assert runs.gate(runs.good, *options) == 91
    assert f"the mask of the test image {item.stem} has other bytes in {mask}" in capsys.readouterr().err
    photo.unlink()
    assert runs.gate(runs.good, *options) == 91
    assert f"the test image {item.stem} isn't in {moved / 'images'}" in capsys.readouterr().err
    shutil.rmtree(moved)
    assert runs.gate(runs.good, *options) == 91
    assert "dvc pull" in one_sentence(capsys.readouterr().err)


def promotion_of(runs: GateRuns, version: int) -> LedgerEntry:
    """The ledger's first entry: it made a version with unknown weights Production."""
    means = Means(dice=0.5, iou=0.4)
    hashes = dict.fromkeys(("weights_sha256", "onnx_sha256", "config_hash", "data_version"), "0" * 64)
    record = LedgerRecord(
        at="2026-11-21T12:00:00+00:00", who="a", action="promote", from_version=None, to_version=version,
        run_id=runs.weak, metrics=means, baseline=means, verdict="improved", git_commit="c", training_data_count=1,
        **hashes,
    )  # fmt: skip
    return link(record, None)


def in_registry(runs: GateRuns, version: int) -> None:
    """As a promotion leaves the registry's own ledger."""
    entries = RegistryLedger(runs.server.uri, MODEL)
    entries.mark_done(entries.add(promotion_of(runs, version))[0])


def test_a_past_without_production_is_no_first_training(
    runs: GateRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow import MlflowClient

    off = runs.recipe_with(mode="off")

    def refused(words: str, recipe: str = "small.yaml") -> None:
        assert runs.gate(runs.good, "--ledger", tmp_path / "ledger", recipe=recipe) == 94
        assert words in one_sentence(capsys.readouterr().err)
        assert runs.registry.run(runs.good).tags["gate.decision"] == "undecided"

    runs.produce(None)
    version = runs.registry.register(runs.weak).version
    refused(f"no first training. Say which version is Production, for example with `wms promote --adopt {version}")
    refused("no first training", off)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, but a server's database may still hold it
        MlflowClient(runs.server.uri).transition_model_version_stage(MODEL, str(version), "Production")
    refused(f"version {version} in the stage Production of MLflow 2")
    in_registry(runs, version)
    refused("is gone, but by the ledger version 1 is Production: somebody changed it by hand.")
    refused("wms restore", off)
    runs.produce(None)
    Ledger(tmp_path / "ledger").append(promotion_of(runs, 1))
    refused("has 1 entries, but the registry")


def test_a_champion_with_other_weights_than_were_promoted(runs: GateRuns, capsys: pytest.CaptureFixture[str]) -> None:
    in_registry(runs, runs.produce(runs.weak) or 0)
    assert runs.gate(runs.good) == 91
    assert "holds other weights than those which were promoted" in one_sentence(capsys.readouterr().err)


def test_a_registry_that_does_not_answer_is_never_a_verdict(
    runs: GateRuns, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WMS_MLFLOW_TIMEOUT", "2")
    dry = runs.recipe_with(mode="dry-run")
    with gateway(runs.server.port) as front:
        for uri, status, code in (
            (f"http://me:secret@127.0.0.1:{free_port()}", None, 92),
            (front.uri, 503, 92),
            (front.uri, 403, 96),
        ):
            monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
            front.refuse_with = status
            assert runs.gate(runs.good, "--json", "--report", tmp_path / "r.md", recipe=dry) == code
            output = capsys.readouterr()
            assert output.out == ""
            assert "secret" not in one_sentence(output.err)
            assert "no verdict" in (tmp_path / "r.md").read_text()


def test_mistakes_are_told_apart_from_verdicts(
    runs: GateRuns, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert runs.gate("run_20200101_000000_deadbeef") == 40
    one_sentence(capsys.readouterr().err)
    with pytest.raises(SystemExit):
        runs.gate(runs.good, "--nonsense")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert runs.gate(runs.good) == 2
    assert "MLFLOW_TRACKING_URI" in one_sentence(capsys.readouterr().err.split("unrecognized")[-1])
