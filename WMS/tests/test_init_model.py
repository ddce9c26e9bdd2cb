"""`wms init --adopt-model` on a real server: the alias production, MLflow 2's stage, another alias; foreign runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from registry_workshop import Shop
from servers import free_port
from test_first_training import promote, stage

from wms.errors import ModelNotFoundError, RegistryUnreachableError, UsageError
from wms.registry.ledger import Ledger
from wms_ops.base.layout import METADATA, MODELS
from wms_ops.commands.main import main
from wms_ops.git.command import Git

pytest_plugins = ["registry_fixtures"]


@pytest.fixture
def clone(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository without a ledger; the working directory."""
    folder = tmp_path / "clone"
    folder.mkdir()
    Git(folder)("init", "--quiet", "--initial-branch=main")
    (folder / "hooks").mkdir()
    (folder / "hooks" / "pre-push").touch()  # by which `wms init` knows this project
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", shop.uri)
    monkeypatch.setenv("GITHUB_ACTOR", "ann")
    return folder


def init(shop: Shop, *options: str) -> int:
    return main(["init", "--model", shop.model, "--adopt-model", *options])


def by_alias(shop: Shop) -> None:
    shop.registry.set_alias("production", 2)


def by_stage(shop: Shop) -> None:
    stage(shop, 2)


def by_another_alias(shop: Shop) -> None:
    shop.registry.set_alias("champion", 2)


CASES = {
    "alias": (by_alias, [], "adopted: alias production"),
    "stage": (by_stage, [], "adopted: stage Production of MLflow 2"),
    "another alias": (by_another_alias, ["--alias", "champion"], "adopted: alias champion"),
    "number": (lambda _: None, ["2"], "adopted: named to wms init"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_production_begins_the_ledger(shop: Shop, clone: Path, case: str) -> None:
    prepare, options, verdict = CASES[case]
    for dice in (0.7, 0.8, 0.6):
        shop.registry.register(shop.run(dice, gate=False))
    prepare(shop)
    assert init(shop, *options) == 0
    (entry,) = Ledger(clone / MODELS).entries()
    assert (entry.from_version, entry.to_version, entry.who, entry.verdict) == (None, 2, "ann", verdict)
    found = shop.registry.alias("production")
    assert found is not None and found.version == 2
    assert json.loads((clone / METADATA).read_text())["model_version"] == 2
    assert init(shop, *options) == 0, "again, and nothing happens"
    assert Ledger(clone / MODELS).entries() == (entry,)


def test_the_ledger_goes_on_after_an_adoption(shop: Shop, clone: Path) -> None:
    shop.registry.register(shop.run(0.7, gate=False))
    stage(shop, 1)
    assert init(shop) == 0
    mine = Shop(shop.uri, clone / MODELS, shop.model)
    assert promote(mine, mine.run(0.9, champion=1)).entry.from_version == 1


def test_without_any_model_it_says_so(shop: Shop, clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init(shop) == 0
    said = capsys.readouterr().out
    assert f"has no model {shop.model} yet, so there is nothing to adopt" in said
    assert "`wms promote RUN --force REASON`" in said
    assert (clone / "wms.toml").is_file() and not (clone / MODELS).exists()


def test_a_foreign_projects_model_stays_theirs_and_ours_can_follow(
    shop: Shop, clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = shop.run(0.9, gate=False, without=("model/production.json", "data.jsonl", "metadata.json"))
    shop.registry.register(run_id)
    stage(shop, 1)
    assert init(shop) == ModelNotFoundError.exit_code
    said = capsys.readouterr().err
    assert f"Version 1 can't be adopted: its run {run_id} lacks model/production.json, data.jsonl" in said
    assert "promote it with `wms promote RUN --force REASON`" in said
    assert not (clone / MODELS).exists() and shop.registry.alias("production") is None
    mine = Shop(shop.uri, clone / MODELS, shop.model)
    assert promote(mine, mine.run(0.9, gate=False), force="the first of ours").changed


def test_versions_of_which_none_is_production_want_a_name(
    shop: Shop, clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.registry.register(shop.run(0.7, gate=False))
    assert init(shop) == UsageError.exit_code
    said = capsys.readouterr().err
    assert "has 1 versions of" in said and "`wms init --adopt-model VERSION`" in said
    shop.registry.set_alias("champion", 1)
    assert init(shop, "--alias", "champoin") == ModelNotFoundError.exit_code
    assert "has the alias champoin; the aliases are: champion." in capsys.readouterr().err
    assert not (clone / MODELS).exists()


def test_without_a_server(
    shop: Shop, clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert init(shop) == UsageError.exit_code
    assert "MLFLOW_TRACKING_URI isn't set" in capsys.readouterr().err
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("WMS_MLFLOW_TIMEOUT", "2")
    assert init(shop) == RegistryUnreachableError.exit_code
    assert not (clone / MODELS).exists()
