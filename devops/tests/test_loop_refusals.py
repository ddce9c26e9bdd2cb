"""A loop that must not go on: no budget, a deployment that fails, another loop, a branch that isn't there."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from loop_shop import LoopShop
from s3_server import require_tool

from wms.registry.metadata import NOTHING_PROMOTED
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.types import PRODUCTION
from wms_ops.loop.contexts import run_store
from wms_ops.loop.driver import one_at_a_time
from wms_ops.machine.types import CloudState
from wms_ops.runs.record import RunOutcome, RunRecord, StepState

pytestmark = pytest.mark.slice("long lives", of=3, number=1)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopShop]:
    require_tool("weed")
    shop = LoopShop.open(tmp_path_factory.mktemp("refusals") / "shop", gate={"mode": "off"}, epochs=20)
    try:
        yield shop
    finally:
        shop.close()


@pytest.fixture(scope="module")
def branch(shop: LoopShop) -> str:
    """The data branch of the first photos, which no loop has worked on."""
    shop.commit_photos(25)
    return shop.push()


def test_another_loop_at_work_is_named(shop: LoopShop, branch: str) -> None:
    with one_at_a_time(run_store(shop.demo_folder.loop).folder):
        said = shop.run(branch, expect=85)
    assert "error: Another run is at work" in said


def test_a_branch_that_is_not_there_is_named(shop: LoopShop) -> None:
    said = shop.run("data/20200101-000000", expect=89)
    assert "no branch 'data/20200101-000000'" in said
    assert "Traceback" not in said


@pytest.fixture(scope="module")
def unpaid(shop: LoopShop, branch: str) -> RunRecord:
    """A run whose budget is too small."""
    assert "WMS_BUDGET_USD" in shop.run(branch, expect=86, WMS_BUDGET_USD="0.001")
    return shop.record(branch)


@pytest.mark.timeout(300)
def test_without_a_budget_nothing_is_started_and_the_pull_request_says_why(shop: LoopShop, unpaid: RunRecord) -> None:
    assert unpaid.outcome is RunOutcome.FAILED
    assert unpaid.step("up").state is StepState.WAITING
    pull, text = shop.pull(1)
    assert pull["state"] == "blocked" and "WMS\\_BUDGET" in text
    assert shop.metadata() == json.loads(NOTHING_PROMOTED)


@pytest.fixture(scope="module")
def first(shop: LoopShop, unpaid: RunRecord) -> RunRecord:
    """The run with a budget: version 1."""
    shop.run(unpaid.branch)
    return shop.record(unpaid.branch)


@pytest.mark.timeout(300)
def test_with_a_budget_the_same_run_goes_on(shop: LoopShop, unpaid: RunRecord, first: RunRecord) -> None:
    assert (first.id, first.outcome) == (unpaid.id, RunOutcome.MERGED)
    assert shop.pull(1)[0]["state"] == "merged"


@pytest.fixture(scope="module")
def failed(shop: LoopShop, first: RunRecord) -> RunRecord:
    """A run whose version 2 answers too late for the limit."""
    shop.shell("git", "pull", "--quiet")
    before = shop.main()
    shop.commit_photos(6)
    branch = shop.push()
    said = shop.run(branch, expect=87, WMS_SMOKE_LATENCY_S="0.0001")
    assert "Version 1 is Production again" in said
    assert shop.main() == before
    return shop.record(branch)


@pytest.mark.timeout(300)
def test_after_a_deployment_that_failed_the_version_before_is_production(shop: LoopShop, failed: RunRecord) -> None:
    assert failed.step("metadata").state is StepState.WAITING
    pull, text = shop.pull(2)
    assert pull["state"] == "blocked" and "smoke-deploy" in text
    assert production(shop) == 1


@pytest.mark.timeout(300)
def test_with_a_service_that_answers_in_time_the_same_run_goes_on(shop: LoopShop, failed: RunRecord) -> None:
    shop.run(failed.branch)
    assert shop.record(failed.branch).id == failed.id
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
