"""A clone whose promotions go to a real MLflow (SQLite), and the commands that run there as they are printed."""

from __future__ import annotations

import re
import shlex
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from registry_workshop import Shop
from servers import MlflowServer

from wms.registry import promotion
from wms.registry.chain import SUFFIX
from wms.registry.ledger import Ledger
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.plan import Proposal
from wms_ops.base.layout import METADATA, MODELS
from wms_ops.commands.checks_records import check_records
from wms_ops.commands.finding import State
from wms_ops.commands.main import main
from wms_ops.git.command import Git

pytest_plugins = ["registry_fixtures"]


@pytest.fixture
def clone(mlflow_of_session: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A clone with an empty first commit, whose promotions go to a registered model of its own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_of_session.uri)
    git = Git(tmp_path, {"user.name": "Ada", "user.email": "ada@example.org"})
    git("init", "--quiet", "--initial-branch=main")
    git("commit", "--quiet", "--allow-empty", "-m", "Start")
    return Shop(mlflow_of_session.uri, tmp_path / MODELS, f"model-{uuid.uuid4().hex[:8]}")


def repo_of(shop: Shop) -> Path:
    return shop.folder.parents[1]


def promote(shop: Shop, times: int = 1) -> None:
    """Promote, and commit the ledger unless it is the first promotion."""
    (repo := repo_of(shop)).mkdir(exist_ok=True)
    client = replace(shop.promotions, metadata=repo / METADATA)
    for _ in range(times):
        head = client.entries.read().head
        found = promotion.propose(client, shop.run(0.9, champion=head.to_version if head else None))
        assert isinstance(found, Proposal)
        promotion.execute(client, found, who="Ann")


def commit(shop: Shop) -> None:
    git = Git(repo_of(shop), {"user.name": "Ada", "user.email": "ada@example.org"})
    git("add", "--all", MODELS, METADATA)
    git("commit", "--quiet", "-m", "Promote")


def where(shop: Shop) -> list[str]:
    return ["--ledger", str(shop.folder), "--metadata", str(repo_of(shop) / METADATA), "--model", shop.model]


def wms(shop: Shop, *words: str) -> int:
    """A command in this clone, as it is printed but for the options that lead there."""
    more = ["--repo", str(repo_of(shop)), "--yes"] if words[0] == "restore" else []
    return main([*words, *where(shop), *more])


def baseline(shop: Shop) -> int:
    return main(["versions", "baseline", "--ledger", str(shop.folder), "--model", shop.model])


def run_printed(shop: Shop, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the first command between backticks, or a whole command, as a user would copy it."""
    found = re.search(r"`([^`]+)`", text)
    words = shlex.split(found[1] if found else text)
    if words[0].startswith("MLFLOW_TRACKING_URI="):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", shop.uri)
        words = words[1:]
    if words[0] == "git":
        Git(repo_of(shop))(*words[1:])
    else:
        assert words[0] == "wms", text
        assert wms(shop, *words[1:]) == 0, text


def delete(shop: Shop, *numbers: int) -> None:
    from mlflow import MlflowClient

    for number in numbers:
        MlflowClient(tracking_uri=shop.uri).delete_model_version(shop.model + SUFFIX, str(number))


def is_fine(shop: Shop, before: dict[str, object]) -> None:
    assert check_records(repo_of(shop)).state is State.FINE
    assert baseline(shop) == 0
    assert wms(shop, "versions", "metadata") == 0
    assert replace(shop.promotions, metadata=repo_of(shop) / METADATA).entries.read().settled
    assert snapshot(shop) == before


def snapshot(shop: Shop) -> dict[str, object]:
    chain = shop.promotions.entries.read()
    versions = ModelRegistry(shop.uri, model=shop.model).versions()
    files = {name: (repo_of(shop) / name).read_bytes() for name in (METADATA, f"{MODELS}/production_current.json")}
    assert Ledger(shop.folder).entries() == chain.entries
    return {"chain": chain.entries, "versions": [(one.version, one.aliases, one.tags) for one in versions]} | files
