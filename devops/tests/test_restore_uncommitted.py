"""Records damaged before their first commit, on a real MLflow: the printed command runs, and all is fine afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from registry_clone import baseline, commit, is_fine, promote, repo_of, run_printed, snapshot, wms
from registry_workshop import Shop

from wms.errors import LedgerError, ModelDamagedError
from wms_ops.base.layout import METADATA
from wms_ops.commands.checks_records import check_records
from wms_ops.commands.finding import State
from wms_ops.git.command import Git

pytest_plugins = ["registry_clone"]
pytestmark = pytest.mark.slice("restores of uncommitted work", of=2)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:500])


HISTORY_DAMAGE: dict[str, Callable[[Path], object]] = {
    "truncated": truncated,
    "empty": lambda path: path.write_bytes(b""),
    "gone": Path.unlink,
    "edited": lambda path: path.write_bytes(path.read_bytes().replace(b"Ann", b"Bob", 1)),
}


@pytest.mark.parametrize(
    "case",
    [("truncated", 1, True), ("empty", 2, False), ("gone", 1, False), ("edited", 2, True), ("edited", 1, False)],
)
def test_a_ledger_damaged_before_its_first_commit_comes_back_by_the_printed_command(
    clone: Shop, case: tuple[str, int, bool], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    how, promotions, has_uri = case
    promote(clone, promotions)
    before = snapshot(clone)
    path = clone.folder / "production_history.jsonl"
    HISTORY_DAMAGE[how](path)
    content = path.read_bytes() if path.exists() else None
    if not has_uri:
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
    found = check_records(repo_of(clone))
    assert found.state is State.MISSING and "wms restore" in found.mend, found
    for words in (["versions", "metadata"], ["versions", "baseline"]):
        capsys.readouterr()
        assert (baseline(clone) if words[1] == "baseline" else wms(clone, *words)) == LedgerError.exit_code
        said = capsys.readouterr().err
        assert "wms restore`" in said and "from Git" not in said and said.count("\n") == 1, said
    run_printed(clone, found.mend, monkeypatch)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", clone.uri)
    if content:
        kept = repo_of(clone) / ".git" / "wms" / "replaced" / path.name
        assert kept.read_bytes() == content
    is_fine(clone, before)


@pytest.mark.parametrize(("how", "command"), [("truncated", "printed"), ("truncated", "restore")])
def test_a_committed_ledger_comes_back_by_git_and_by_restore(
    clone: Shop, how: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(clone)
    commit(clone)
    before = snapshot(clone)
    HISTORY_DAMAGE[how](clone.folder / "production_history.jsonl")
    found = check_records(repo_of(clone))
    assert found.state is State.MISSING and found.mend.startswith("git restore ")
    run_printed(clone, found.mend if command == "printed" else "wms restore", monkeypatch)
    is_fine(clone, before)


@pytest.mark.parametrize("how", ["edited", "gone", "older"])
def test_metadata_damaged_before_its_commit_is_written_anew(
    clone: Shop, how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    promote(clone)
    commit(clone)
    promote(clone)
    before = snapshot(clone)
    path = repo_of(clone) / METADATA
    text = path.read_text(encoding="utf-8")
    old = Git(repo_of(clone))("show", f"HEAD:{METADATA}").rstrip() + "\n"
    {
        "edited": lambda: path.write_text(text.replace('"dice": 0.9', '"dice": 0.8'), encoding="utf-8"),
        "gone": path.unlink,
        "older": lambda: path.write_text(old, encoding="utf-8"),
    }[how]()
    found = check_records(repo_of(clone))
    assert found.mend == "wms versions metadata", found
    assert found.state is (State.OPTIONAL if how == "older" else State.MISSING)
    if how == "older":
        assert "lags" in found.text and "version 1" in found.text and "version 2" in found.text
    elif how == "edited":
        capsys.readouterr()
        assert baseline(clone) == ModelDamagedError.exit_code
        assert "`wms versions metadata`" in capsys.readouterr().err
    run_printed(clone, found.mend, monkeypatch)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", clone.uri)
    is_fine(clone, before)
