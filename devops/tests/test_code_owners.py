"""CODEOWNERS: what has to be owned is listed, exists, and gets the team's own owner by `wms init --owner`."""

from __future__ import annotations

from pathlib import Path

import pytest

from wms.errors import UsageError
from wms_ops.setup.owners import OWNED, PATH, codeowners, owner_changes

ROOT = Path(__file__).resolve().parents[2]


def test_the_shipped_file_is_that_without_owners() -> None:
    assert (ROOT / PATH).read_text(encoding="utf-8") == codeowners()
    for path in OWNED:
        assert path == "/wms.toml" or (ROOT / path.strip("/")).exists(), path
    needed = (".github/workflows", "infrastructure", "hooks", "model-metadata.json", "WMS/models", "SECURITY.md")
    assert [one for one in needed if not any(f"/{one}/".startswith(f"{path.rstrip('/')}/") for path in OWNED)] == []


def test_the_teams_owner_stands_behind_each_path(tmp_path: Path) -> None:
    (change,) = owner_changes(tmp_path, ["@acme/meters", "ana@acme.example"])
    rules = [line.split() for line in change.text.splitlines() if not line.startswith("#")]
    assert [rule[0] for rule in rules] == list(OWNED)
    assert {tuple(rule[1:]) for rule in rules} == {("@acme/meters", "ana@acme.example")}
    (tmp_path / PATH).parent.mkdir()
    (tmp_path / PATH).write_text(change.text)
    assert not list(owner_changes(tmp_path, ["@acme/meters", "ana@acme.example"]))
    assert not list(owner_changes(tmp_path, [])), "an owner that was named stays"


@pytest.mark.parametrize("owner", ["acme/meters", "@", "@acme/", "@acme/meters\n* @mallory", "@a b", ""])
def test_what_can_not_own(owner: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't own files at GitHub: give @USER"):
        list(owner_changes(tmp_path, [owner]))
