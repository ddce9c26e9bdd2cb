"""`wms doctor` and `wms status` in a clone behind its registry, a real MLflow: both name the newer Production."""

from __future__ import annotations

import pytest
from registry_clone import baseline, commit, promote, repo_of
from registry_workshop import Shop

from wms.project import Project
from wms_ops.commands import newer, status
from wms_ops.commands.checks_records import check_records
from wms_ops.commands.finding import State
from wms_ops.commands.main import main
from wms_ops.git.command import Git

pytest_plugins = ["registry_clone"]


def test_a_clone_behind_its_registry_is_told_so(
    clone: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(newer, "project", lambda: Project(model=clone.model))
    for _ in range(2):
        promote(clone)
        commit(clone)
    repo = repo_of(clone)
    git = Git(repo)
    newest = git("rev-parse", "HEAD").strip()
    git("reset", "--quiet", "--hard", "HEAD~1")
    capsys.readouterr()
    assert baseline(clone) == 0
    assert '"version": 2' in capsys.readouterr().out
    found = check_records(repo)
    assert (found.state, found.mend) == (State.OPTIONAL, "git pull"), found.text
    assert "version 1 is Production" in found.text and "knows version 2" in found.text
    assert main(["status", "--repo", str(repo)]) == 0
    said = capsys.readouterr().out
    assert "production    version 1, " in said and "knows version 2" in said and "`git pull`" in said
    git("merge", "--quiet", "--ff-only", newest)  # what `git pull` does
    assert check_records(repo).state is State.FINE and "registry" not in status.production(repo)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    found = check_records(repo)
    assert found.state is State.FINE and "by the ledger of this clone" in found.text and "can't be asked" in found.text
    assert "can't be asked" in status.production(repo)["registry"]
