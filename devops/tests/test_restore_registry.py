"""A ledger in MLflow that lost entries, on a real MLflow: the printed command runs, and all is fine afterwards."""

from __future__ import annotations

import pytest
from registry_clone import baseline, commit, delete, is_fine, promote, repo_of, run_printed, snapshot, wms
from registry_workshop import Shop

from wms.errors import LedgerError
from wms.registry.mlflow_store import ModelRegistry
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
