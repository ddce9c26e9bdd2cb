"""The acceptance checklist: three pushes with three outcomes, through the real hook and real servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from loop_shop import LoopShop
from s3_server import require_tool

from wms.registry.lineage import FILES
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.types import PRODUCTION
from wms_ops.base.layout import MODELS
from wms_ops.machine.types import CloudState, ModelRelease
from wms_ops.release.sources import key_of
from wms_ops.runs.record import RunOutcome, StepState
from wms_ops.storage.client import remote_client


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[LoopShop]:
    """A loop whose path has a space and an umlaut; no process of it is left."""
    require_tool("weed")
    shop = LoopShop.open(tmp_path / "a löop", gate={"min_improvement": 0.1})
    try:
        yield shop
    finally:
        shop.close()
        assert not list(shop.cloud.processes())


@pytest.mark.timeout(300)
def test_first_training_good_data_bad_data_and_a_deployment(shop: LoopShop) -> None:
    first(shop)
    good(shop)
    bad(shop)
    deployment(shop)


def first(shop: LoopShop) -> None:
    """0 existing + 25 new = 25; no baseline: promoted and merged."""
    record = shop.first_version()
    assert record.outputs["champion_version"] == ""
    assert_main(shop, photos=25, versions=[1])
    pull, text = shop.pull(1)
    assert pull["state"] == "merged" and pull["branch"] == record.branch
    assert "25" in text and "first" in text.lower()
    assert shop.branches() == {}
    assert shop.cloud.status() is CloudState.ABSENT


def good(shop: LoopShop) -> None:
    """25 + 24 = 49: better, promoted, merged."""
    shop.shell("git", "pull", "--quiet")
    shop.commit_photos(24)
    branch = shop.push()
    assert "Existing: 25, new: 24, total: 49" in shop.pushed
    shop.run(branch)
    values = shop.record(branch).outputs
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


def bad(shop: LoopShop) -> None:
    """49 + 10 = 59, with the masks of other photos: blocked, and main and Production stay."""
    shop.shell("git", "pull", "--quiet")
    before = shop.main()
    shop.commit_photos(10, shuffled=True)
    branch = shop.push()
    assert "Existing: 49, new: 10, total: 59" in shop.pushed
    said = shop.run(branch, expect=90)
    assert "Blocked" in said
    record = shop.record(branch)
    assert record.outcome is RunOutcome.BLOCKED
    skipped = [step.name for step in record.steps if step.state is StepState.SKIPPED]
    assert skipped == ["promote", "smoke-deploy", "metadata"]
    assert shop.main() == before
    assert_main(shop, photos=49, versions=[1, 2])
    pull, text = shop.pull(3)
    assert pull["state"] == "blocked"
    assert record.outputs["gate_reason"].split()[0] in text
    assert list(shop.branches()) == [branch]
    assert len(shop.data(branch).pairs) == 59
    again = shop.run(branch, expect=90)  # nothing is trained twice for the same commit
    assert "Blocked" in again and shop.record(branch).id == record.id


def deployment(shop: LoopShop) -> None:
    """Production is served until somebody stops it; then nothing is left."""
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
    from_the_sleeping_instance(shop, entry["weights_sha256"])


def from_the_sleeping_instance(shop: LoopShop, weights_sha256: str) -> None:
    """A model that only MLflow has: sync wakes the clone's own instance for it, and lets it sleep again."""
    (shop.demo_folder.clone / ".loop").symlink_to(shop.demo_folder.loop)
    store = shop.store()
    client = remote_client(store.config, shop.cloud.environ(), connections=1)
    for name in FILES:
        client.delete_object(Bucket=store.config.bucket, Key=store.config.inside(key_of(weights_sha256, name)))
    said = shop.shell("python", "WMS/scripts/sync_model_aws.py", "--force")
    assert "The instance is absent; starting it." in said and "from MLflow on the instance" in said
    assert shop.cloud.status() is CloudState.ABSENT
    assert shop.store().missing(shop.data().oids) == set()


def test_a_push_with_half_a_credential_is_stopped_with_a_sentence(shop: LoopShop) -> None:
    shop.commit_photos(3)
    before = shop.main()
    without = {key: value for key, value in shop.environ.items() if key != "AWS_SECRET_ACCESS_KEY"}
    from wms_ops.demo.shell import Shell

    said = Shell(shop.demo_folder.clone, without, lambda _: None)("git", "push", "origin", "main", expect=1)
    assert "error: " in said and "credentials" in said.lower() and "Traceback" not in said
    assert shop.main() == before and shop.branches() == {}


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
