"""A loop that must not go on: no budget, a deployment that fails, another loop, a branch that isn't there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from loop_shop import LoopShop
from s3_server import require_tool

from wms.registry.metadata import NOTHING_PROMOTED
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.types import PRODUCTION
from wms_ops.loop.contexts import run_store
from wms_ops.loop.driver import one_at_a_time
from wms_ops.machine.types import CloudState
from wms_ops.runs.record import RunOutcome, StepState


@pytest.mark.timeout(300)
def test_what_must_not_go_on_says_why_and_leaves_main_and_production(tmp_path: Path) -> None:
    require_tool("weed")
    shop = LoopShop.open(tmp_path / "shop", gate={"mode": "off"}, epochs=20)
    try:
        shop.commit_photos(25)
        branch = shop.push()
        another_loop(shop, branch)
        no_such_branch(shop)
        no_budget(shop, branch)
        shop.run(branch)
        failed_deployment(shop)
    finally:
        shop.close()


def another_loop(shop: LoopShop, branch: str) -> None:
    with one_at_a_time(run_store(shop.demo_folder.loop).folder):
        said = shop.run(branch, expect=85)
    assert "error: Another run is at work" in said


def no_such_branch(shop: LoopShop) -> None:
    said = shop.run("data/20200101-000000", expect=89)
    assert "no branch 'data/20200101-000000'" in said
    assert "Traceback" not in said


def no_budget(shop: LoopShop, branch: str) -> None:
    """Nothing is started, the pull request says why; with a budget the same run goes on."""
    said = shop.run(branch, expect=86, WMS_BUDGET_USD="0.001")
    assert "WMS_BUDGET_USD" in said
    record = shop.record(branch)
    assert record.outcome is RunOutcome.FAILED
    assert record.step("up").state is StepState.WAITING
    pull, text = shop.pull(1)
    assert pull["state"] == "blocked" and "WMS\\_BUDGET" in text
    assert shop.metadata() == json.loads(NOTHING_PROMOTED)


def failed_deployment(shop: LoopShop) -> None:
    """Version 2 answers too late for the limit: version 1 is back; without that limit, the same run goes on."""
    shop.shell("git", "pull", "--quiet")
    before = shop.main()
    shop.commit_photos(6)
    branch = shop.push()
    said = shop.run(branch, expect=87, WMS_SMOKE_LATENCY_S="0.0001")
    assert "Version 1 is Production again" in said
    assert shop.main() == before
    assert shop.record(branch).step("metadata").state is StepState.WAITING
    pull, text = shop.pull(2)
    assert pull["state"] == "blocked" and "smoke-deploy" in text
    assert production(shop) == 1
    shop.run(branch)
    assert [entry["action"] for entry in shop.ledger()] == ["promote", "promote", "rollback", "promote"]
    assert (shop.metadata() or {})["model_version"] == 2
    assert production(shop) == 2
    assert shop.pull(2)[0]["state"] == "merged"


def production(shop: LoopShop) -> int:
    version = ModelRegistry(shop.cloud.up().mlflow).alias(PRODUCTION)
    shop.cloud.down()
    assert shop.cloud.status() is CloudState.ABSENT
    assert version is not None
    return version.version
