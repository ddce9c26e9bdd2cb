"""A ledger in MLflow that lost entries, on a real MLflow: the printed command runs, and all is fine afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
from registry_clone import baseline, commit, delete, is_fine, promote, repo_of, run_printed, snapshot, wms
from registry_workshop import Shop

from wms.config_gate import GateConfig
from wms.errors import LedgerError, ModelNotFoundError
from wms.registry import gate_tries
from wms.registry.gate_settings import GateSettings
from wms.registry.gate_tries import TryLog
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.types import GateVerdict, Means
from wms_ops.git.command import Git

pytest_plugins = ["registry_clone"]

GONE: dict[str, tuple[int, ...]] = {
    "the newest two": (2, 3),
    "one in the middle": (2,),
    "the first and the newest": (1, 3),
    "all": (1, 2, 3),
}


@pytest.mark.parametrize("case", GONE)
def test_entries_deleted_in_mlflow_come_back_by_the_printed_command(
    clone: Shop, case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    promote(clone, 3)
    commit(clone)
    before = snapshot(clone)
    delete(clone, *GONE[case])
    capsys.readouterr()
    assert baseline(clone) == LedgerError.exit_code
    said = capsys.readouterr().err
    assert "`wms restore`" in said and said.count("\n") == 1, said
    assert wms(clone, "versions", "metadata") == LedgerError.exit_code
    run_printed(clone, said, monkeypatch)
    is_fine(clone, before)
    promote(clone)
    assert baseline(clone) == 0


def test_an_older_clone_says_that_another_one_has_the_deleted_entry(
    clone: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    promote(clone)
    commit(clone)
    promote(clone)
    commit(clone)
    before = snapshot(clone)
    git = Git(repo_of(clone))
    newest = git("rev-parse", "HEAD").strip()
    git("branch", "--quiet", "origin-main")
    git("reset", "--quiet", "--hard", "HEAD~1")
    git("branch", "-D", "origin-main")  # a clone that never fetched the newest commit
    delete(clone, 2)
    capsys.readouterr()
    assert wms(clone, "restore") == LedgerError.exit_code
    said = capsys.readouterr().err
    assert "tell of entry 2" in said and "`git pull`" in said and said.count("\n") == 1, said
    assert (ModelRegistry(clone.uri, model=clone.model).alias("production") or pytest.fail()).version == 2
    git("merge", "--quiet", "--ff-only", newest)  # what `git pull` does
    assert wms(clone, "restore") == 0
    is_fine(clone, before)


def refuse(shop: Shop, run_id: str, minute: int) -> None:
    """A refusal in the log of verdicts."""
    dice, settings = Means(dice=0.5, iou=0.4), GateSettings.of(GateConfig(), 64, "a recipe")
    verdict = GateVerdict(
        decision="not improved",
        run_id=run_id,
        weights_sha256="w",
        challenger=dice,
        champion=dice,
        champion_version=1,
        test_images=5,
        test_version="t",
        decided_at=f"2026-11-28T12:{minute:02}:00+00:00",
        settings=settings,
    )
    TryLog(ModelRegistry(shop.uri, model=shop.model)).add(verdict)


def test_a_log_of_verdicts_that_was_cut_is_told_and_stays_cut(clone: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """A restore of a part must not accept what a person has to look into: the log isn't lost, but cut."""
    from mlflow import MlflowClient

    promote(clone, 2)
    commit(clone)
    first, _ = clone.promotions.entries.read().entries
    for minute in (1, 2):
        refuse(clone, first.run_id, minute)
    client = MlflowClient(clone.uri)
    client.delete_model_version(clone.model + gate_tries.SUFFIX, "1")
    log = TryLog(ModelRegistry(clone.uri, model=clone.model))
    faults = log.read().faults
    assert faults
    for lost in ("nothing else", "an entry", "a run"):
        if lost == "an entry":
            delete(clone, 2)
        elif lost == "a run":
            client.update_run(first.run_id, status="RUNNING")
        capsys.readouterr()
        assert wms(clone, "restore") == (ModelNotFoundError.exit_code if lost == "a run" else 0)
        said = capsys.readouterr().out
        assert said.count("The gate can't decide before a person looked into it (code 91): the log of verdicts") == 1
        assert "`wms promote RUN --force REASON`" in said
        assert log.read().faults == faults, lost


def test_a_plan_makes_no_database(
    clone: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    database = tmp_path / "lost.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    assert wms(clone, "restore") == 0
    assert "Nothing is to be restored." in capsys.readouterr().out
    promote(clone, 2)
    for more in (["--dry-run"], ["--dry-run", "--force"]):
        assert wms(clone, "restore", *more) == 0
        said = capsys.readouterr().out
        assert f"MLflow: The database {database} is made anew." in said and "2 entries of the ledger go to" in said
    assert {path.name for path in tmp_path.iterdir()} == {".git", "WMS", "model-metadata.json"}
