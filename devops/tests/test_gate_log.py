"""A cut or edited log of verdicts is noticed on a real MLflow server: nothing is decided or promoted on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gate_runs import MODEL, GateRuns
from test_gate_settings import promote

from wms.registry.gate_tries import DIGEST, LOGGED, SUFFIX, TRY, TryLog
from wms.registry.ledger import Ledger
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.verdicts import begin

pytest_plugins = ["gate_fixtures"]
LOG = MODEL + SUFFIX
CUT = f"the log of verdicts {LOG} was cut or edited"


def client_of(runs: GateRuns) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(runs.server.uri)


def newest(runs: GateRuns) -> Any:
    return max(client_of(runs).search_model_versions(f"name='{LOG}'"), key=lambda one: int(one.version))


def test_an_edited_verdict_is_noticed_and_a_person_may_go_on(
    refused: GateRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, version = refused, newest(refused)
    edited = version.tags[TRY].replace("not improved", "improved")
    assert edited != version.tags[TRY]
    client_of(runs).set_model_version_tag(LOG, version.version, TRY, edited)
    assert runs.gate(runs.good) == 91
    assert f"{CUT} (version {version.version} was edited" in capsys.readouterr().err
    assert promote(runs.good, tmp_path) == 91
    assert runs.gate(runs.good, recipe=runs.recipe_with(mode="off")) == 0
    assert "With the gate on this would be refused: the log of verdicts" in capsys.readouterr().out
    assert promote(runs.good, tmp_path) == 91, "a verdict beside a log like this counts for nothing"
    assert CUT in capsys.readouterr().err
    assert promote(runs.good, tmp_path, "--force", "the edit was mine") == 0
    (entry,) = Ledger(tmp_path / "models").entries()
    assert entry.verdict.startswith("forced: the edit was mine (") and entry.verdict.endswith(
        f"{LOG} was cut or edited"
    )
    capsys.readouterr()
    runs.gate(runs.weak, "--ledger", str(tmp_path / "models"))
    told = capsys.readouterr().out
    assert f"warning: The log of verdicts {LOG} has a gap: At " in told and "the edit was mine" in told
    assert runs.verdict(runs.weak).decision == "not improved"


def test_a_recomputed_hash_does_not_hide_an_edit(refused: GateRuns) -> None:
    from wms.files import sha256_text

    runs, version = refused, newest(refused)
    edited = version.tags[TRY].replace("not improved", "improved")
    for key, value in ((TRY, edited), (DIGEST, sha256_text(edited))):
        client_of(runs).set_model_version_tag(LOG, version.version, key, value)
    assert runs.gate(runs.good) == 91


def test_a_deleted_newest_verdict_is_noticed_by_every_run(
    refused: GateRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, version = refused, newest(refused)
    client_of(runs).delete_model_version(LOG, version.version)
    begin(runs.registry, runs.good, "enforce")  # killed there
    twin = runs.variant("twin-of-a-refused-run")
    for run in (twin, runs.good):
        assert runs.gate(run) == 91
        assert f"{CUT} (a verdict is gone" in capsys.readouterr().err
    assert promote(runs.good, tmp_path) == 91
    # Another verdict about the same run hides nothing.
    assert runs.gate(runs.good, recipe=runs.recipe_with(mode="off")) == 0
    assert runs.gate(twin) == 91


def test_a_deleted_log_is_noticed_by_runs_and_by_the_ledger(
    refused: GateRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, client, models = refused, client_of(refused), tmp_path / "models"
    assert promote(runs.good, tmp_path, "--force", "a first one") == 0
    (entry,) = Ledger(models).entries()
    assert entry.verdict_log == (newest(runs).tags[DIGEST],)
    client.delete_registered_model(LOG)
    ledger = ("--ledger", str(models))
    assert runs.gate(runs.weak, *ledger) == 91
    client.delete_tag(runs.good, LOGGED)
    capsys.readouterr()
    assert runs.gate(runs.weak, *ledger) == 91, "the ledger in Git still names the verdict"
    assert f"{CUT} (a verdict is gone" in capsys.readouterr().err
    assert promote(runs.weak, tmp_path) == 91
    # With the run that is Production, the log goes on and nothing else changes.
    assert promote(runs.good, tmp_path, "--force", "MLflow was set up anew") == 0
    assert f"The log of verdicts {LOG} goes on" in capsys.readouterr().out
    assert len(Ledger(models).entries()) == 1
    assert runs.gate(runs.weak, *ledger) == 90
    assert "MLflow was set up anew" in capsys.readouterr().out


def test_a_log_of_older_code_is_read_and_told(refused: GateRuns, capsys: pytest.CaptureFixture[str]) -> None:
    runs, client, version = refused, client_of(refused), newest(refused)
    tags = json.loads(version.tags[TRY])
    del tags["before"]
    client.delete_registered_model(LOG)
    client.delete_tag(runs.good, LOGGED)
    ModelRegistry(runs.server.uri, model=LOG).add_version(runs.good, {TRY: json.dumps(tags)})
    assert runs.gate(runs.good) == 90, "the refusal counts as before"
    assert f"warning: 1 verdict in {LOG} came from older code, without a hash" in capsys.readouterr().out
    client.set_model_version_tag(LOG, "1", TRY, json.dumps(tags | {"decision": "improved"}))
    assert TryLog(runs.registry).read().faults, "the newer verdict names the older one's hash"


def test_a_tag_on_a_foreign_run_is_named_with_the_way_on(
    refused: GateRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, client = refused, client_of(refused)
    foreign = client.create_run(client.create_experiment("foreign"), tags={LOGGED: f"{LOG} {'0' * 64}"}).info.run_id
    assert runs.gate(runs.good) == 91
    told = capsys.readouterr().err
    assert f"{CUT} (a verdict is gone (SHA-256 {'0' * 16}))" in told
    assert f"The tag {LOGGED} of run {foreign} names what is gone" in told
    assert "`wms promote RUN --force REASON`, also with the run that is Production" in told
    assert promote(runs.good, tmp_path, "--force", "the tag is nobody's") == 0
    capsys.readouterr()
    assert runs.gate(runs.weak, "--ledger", str(tmp_path / "models")) == 90, "it decides again"
    client.delete_tag(foreign, LOGGED)


def test_a_model_that_scores_the_same_is_the_refused_one(refused: GateRuns, capsys: pytest.CaptureFixture[str]) -> None:
    """Weights that were changed by 1e-7 have another hash, and the same predictions."""
    runs, client, verdict = refused, client_of(refused), refused.verdict(refused.good)
    client.delete_registered_model(LOG)
    client.delete_tag(runs.good, LOGGED)
    means = verdict.challenger.model_copy(update={"dice": verdict.challenger.dice + 4e-7})
    other = {"run_id": runs.weak, "weights_sha256": "f" * 64, "challenger": means}
    TryLog(runs.registry).add(verdict.model_copy(update=other))
    assert runs.gate(runs.variant("changed-by-a-hair")) == 90
    assert f"The gate refused this model in run {runs.weak} at" in capsys.readouterr().out


@pytest.mark.attack(
    "a forged registry entry", "a refused run's verdict rewritten in its files and tags", "the log of verdicts"
)
def test_a_verdict_that_the_log_does_not_have_promotes_nothing(
    refused: GateRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log says "not improved"; a file and tags of the run, and then a line more of the log, say the contrary."""
    runs, verdict = refused, refused.verdict(refused.good)
    same = "The gate refused this model at"
    for change, logged, words in (
        ({"decision": "improved", "reasons": ("Both rose.",), "held_back": ""}, False, same),
        ({"decision": "improved", "champion": verdict.challenger, "challenger": verdict.champion}, False, same),
        ({"decision": "improved", "reasons": ("Both rose.",), "held_back": ""}, True, same),
        ({"decision": "improved", "test_version": "0" * 64}, True, "although dice and iou didn't rise by more than"),
    ):
        forged = verdict.model_copy(update=change)
        assert verdict.decision == "not improved"
        rewrite(runs, runs.good, forged)
        if logged:
            TryLog(runs.registry).add(forged)
        capsys.readouterr()
        assert promote(runs.good, tmp_path) == 91, change
        said = capsys.readouterr().err
        assert words in said and runs.good in said, said
        assert not (tmp_path / "models").exists() or not Ledger(tmp_path / "models").entries()


def rewrite(runs: GateRuns, run_id: str, verdict: Any) -> None:
    """What a writer of MLflow does: the verdict's file and the tags that go with it."""
    from wms.files import sha256_text

    text = verdict.model_dump_json()
    client_of(runs).log_text(run_id, text, "gate/verdict.json")
    client_of(runs).set_tag(run_id, "gate.decision", verdict.decision)
    client_of(runs).set_tag(run_id, "gate.verdict_sha256", sha256_text(text))


def test_one_word_is_enough_where_the_newest_verdict_is_gone(refused: GateRuns, tmp_path: Path) -> None:
    runs = refused
    client_of(runs).delete_model_version(LOG, newest(runs).version)
    assert TryLog(runs.registry).read().faults
    assert promote(runs.good, tmp_path, "--force", "I looked") == 0
    assert not TryLog(runs.registry, Ledger(tmp_path / "models").entries()).read().faults
