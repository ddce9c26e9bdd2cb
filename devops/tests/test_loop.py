"""The acceptance checklist: three pushes with three outcomes, through the real hook and real servers."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
from loop_shop import LoopShop
from s3_server import require_tool

from wms.registry.lineage import FILES
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.types import PRODUCTION
from wms_ops.base.layout import MODELS
from wms_ops.demo.shell import Shell
from wms_ops.machine.types import CloudState, ModelRelease
from wms_ops.release.sources import key_of
from wms_ops.runs.record import RunOutcome, RunRecord, StepState
from wms_ops.storage.client import remote_client


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopShop]:
    """A loop whose path has a space and an umlaut; no process of it is left.

    The module's tests are the stages of its life, in their order: each stage's fixture needs the one before.
    """
    require_tool("weed")
    shop = LoopShop.open(tmp_path_factory.mktemp("shop") / "a löop", gate={"min_improvement": 0.1})
    try:
        yield shop
    finally:
        shop.close()
        assert not list(shop.cloud.processes())


def test_a_push_with_half_a_credential_is_stopped_with_a_sentence(shop: LoopShop) -> None:
    shop.commit_photos(3)
    before = shop.main()
    without = {key: value for key, value in shop.environ.items() if key != "AWS_SECRET_ACCESS_KEY"}
    said = Shell(shop.demo_folder.clone, without, lambda _: None)("git", "push", "origin", "main", expect=1)
    assert "error: " in said and "credentials" in said.lower() and "Traceback" not in said
    assert shop.main() == before and shop.branches() == {}
    shop.shell("git", "reset", "--quiet", "--hard", "origin/main")


@pytest.fixture(scope="module")
def first(shop: LoopShop) -> RunRecord:
    """0 existing + 25 new = 25."""
    return shop.first_version()


@pytest.mark.timeout(300)
def test_a_first_training_is_promoted_and_merged_without_a_baseline(shop: LoopShop, first: RunRecord) -> None:
    assert first.outputs["champion_version"] == ""
    assert_main(shop, photos=25, versions=[1])
    pull, text = shop.pull(1)
    assert pull["state"] == "merged" and pull["branch"] == first.branch
    assert "25" in text and "first" in text.lower()
    assert shop.branches() == {}
    assert shop.cloud.status() is CloudState.ABSENT


@pytest.fixture(scope="module")
def good(shop: LoopShop, first: RunRecord) -> RunRecord:
    """25 + 24 = 49."""
    shop.shell("git", "pull", "--quiet")
    shop.commit_photos(24)
    branch = shop.push()
    assert "Existing: 25, new: 24, total: 49" in shop.pushed
    shop.run(branch)
    return shop.record(branch)


@pytest.mark.timeout(300)
def test_good_data_that_make_a_better_model_are_promoted_and_merged(shop: LoopShop, good: RunRecord) -> None:
    values = good.outputs
    for metric in ("dice", "iou"):
        assert float(values[f"challenger_{metric}"]) > float(values[f"champion_{metric}"])
    assert_main(shop, photos=49, versions=[1, 2])
    pull, text = shop.pull(2)
    assert pull["state"] == "merged"
    assert f"{float(values['challenger_dice']):.4f}"[:5] in text
    assert "<summary>The data set</summary>" in text and "### Data set: 49 photos" in text
    assert "25 photos before, 24 added, 49 now." in text and "are known of" not in text
    # Splits never move: those of the first 25 are the first 25 lines still.
    lines = (shop.on_main("WMS/data/splits.jsonl") or "").splitlines()
    assert len(lines) == 49 and lines[:25] == splits_of(shop, "model-v1")


@pytest.fixture(scope="module")
def bad(shop: LoopShop, good: RunRecord) -> RunRecord:
    """49 + 10 = 59, with the masks of other photos."""
    shop.shell("git", "pull", "--quiet")
    before = shop.main()
    shop.commit_photos(10, shuffled=True)
    branch = shop.push()
    assert "Existing: 49, new: 10, total: 59" in shop.pushed
    assert "Blocked" in shop.run(branch, expect=90)
    assert shop.main() == before
    return shop.record(branch)


@pytest.mark.timeout(300)
def test_bad_data_are_blocked_and_main_and_production_stay(shop: LoopShop, bad: RunRecord) -> None:
    assert bad.outcome is RunOutcome.BLOCKED
    skipped = [step.name for step in bad.steps if step.state is StepState.SKIPPED]
    assert skipped == ["promote", "smoke-deploy", "metadata"]
    assert_main(shop, photos=49, versions=[1, 2])
    pull, text = shop.pull(3)
    assert pull["state"] == "blocked"
    assert bad.outputs["gate_reason"].split()[0] in text
    assert list(shop.branches()) == [bad.branch]
    assert len(shop.data(bad.branch).pairs) == 59
    again = shop.run(bad.branch, expect=90)  # nothing is trained twice for the same commit
    assert "Blocked" in again and shop.record(bad.branch).id == bad.id


@pytest.mark.timeout(300)
def test_production_is_served_until_it_is_stopped_and_nothing_is_left(shop: LoopShop, bad: RunRecord) -> None:
    shop.shell("git", "pull", "--quiet")
    endpoints = shop.cloud.up()
    entry = shop.ledger()[-1]
    model = shop.demo_folder.folder / "served"
    registry = ModelRegistry(endpoints.mlflow)
    version = registry.alias(PRODUCTION)
    assert version is not None and version.version == entry["to_version"] == 2
    assert version.run_id == entry["run_id"]
    shop.shell("python", "WMS/scripts/sync_model_aws.py", "--models", str(model))
    service = shop.cloud.deploy(ModelRelease(2, entry["weights_sha256"], model, shop.demo_folder.clone / MODELS))
    assert httpx.get(f"{service}/version", timeout=30).json()["version"] == 2
    shop.cloud.down()
    assert shop.cloud.status() is CloudState.ABSENT
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{service}/health", timeout=5)
    # The store outlives the instance.
    assert shop.store().missing(shop.data().oids) == set()


@pytest.mark.timeout(300)
def test_a_model_that_only_mlflow_has_wakes_the_clones_own_instance(shop: LoopShop, bad: RunRecord) -> None:
    (shop.demo_folder.clone / ".loop").symlink_to(shop.demo_folder.loop)
    store = shop.store()
    client = remote_client(store.config, shop.cloud.environ(), connections=1)
    weights_sha256 = shop.ledger()[-1]["weights_sha256"]
    for name in FILES:
        client.delete_object(Bucket=store.config.bucket, Key=store.config.inside(key_of(weights_sha256, name)))
    said = shop.shell("python", "WMS/scripts/sync_model_aws.py", "--force")
    assert "The instance is absent; starting it." in said and "from MLflow on the instance" in said
    assert shop.cloud.status() is CloudState.ABSENT
    assert shop.store().missing(shop.data().oids) == set()


def assert_main(shop: LoopShop, photos: int, versions: list[int]) -> None:
    """Git, S3, ledger and model-metadata.json agree about what is Production."""
    data = shop.data()
    assert len(data.pairs) == photos
    assert shop.store().missing(data.oids) == set()
    tree = shop.origin("ls-tree", "-r", "--name-only", "main").splitlines()
    assert not [name for name in tree if name.startswith("WMS/data/training/") and not name.endswith(".gitkeep")]
    ledger = shop.ledger()
    assert [entry["to_version"] for entry in ledger] == versions
    assert all(entry["action"] == "promote" for entry in ledger)
    metadata = shop.metadata()
    assert metadata is not None
    assert metadata["model_version"] == versions[-1]
    assert metadata["run_id"] == ledger[-1]["run_id"]
    splits = [json.loads(line)["split"] for line in (shop.on_main("WMS/data/splits.jsonl") or "").splitlines()]
    assert metadata["training_data_count"] == len(splits) == photos
    assert metadata["training_split_count"] == splits.count("train")


def splits_of(shop: LoopShop, name: str) -> list[str]:
    return shop.origin("show", f"{name}:WMS/data/splits.jsonl").splitlines()
