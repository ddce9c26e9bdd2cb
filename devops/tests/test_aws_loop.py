"""The loop over AWS, as its commands are typed: photos pushed to a bucket, an instance that comes, trains and goes.

The tests are stages of one life, in their order: each stage's fixture needs the one before.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aws_loop_shop import AwsLoopShop, opened, with_store
from aws_server import AwsServer

from wms.registry.lineage import FILES
from wms_ops.cost.estimate import BUSY
from wms_ops.cost.sessions import EndedBy, Purpose
from wms_ops.release.sources import key_of
from wms_ops.runs.record import RunRecord

pytest_plugins = ["aws_fixtures"]


@pytest.fixture(scope="module")
def shop(aws_of_module: AwsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsLoopShop]:
    yield from opened(aws_of_module, tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def store_said(shop: AwsLoopShop) -> str:
    return with_store(shop)


@pytest.mark.timeout(300)
def test_the_buckets_are_made_once_and_their_name_is_told(shop: AwsLoopShop, store_said: str) -> None:
    assert "name it with `wms init --bucket s3://wms-main-dvc-123456789012-eu-central-1/dvc`" in store_said
    assert "The buckets are there already." in shop.cloud_command("store")


@pytest.fixture(scope="module")
def first(shop: AwsLoopShop, store_said: str) -> RunRecord:
    return shop.first_version()


def model_keys(shop: AwsLoopShop) -> list[str]:
    (entry,) = shop.ledger()
    return [f"dvc/{key_of(entry['weights_sha256'], name)}" for name in FILES]


@pytest.mark.timeout(300)
def test_photos_are_pushed_to_a_bucket_and_an_instance_comes_trains_and_goes(
    shop: AwsLoopShop, first: RunRecord
) -> None:
    yard = shop.yard
    assert yard is not None
    assert yard.left() == {}, "the run has ended its instance"
    context = yard.cloud().context
    (session,) = context.sessions.sessions("main")
    assert (session.run, session.purpose, session.ended_by) == (first.id, Purpose.PIPELINE, EndedBy.DOWN)
    (entry,) = shop.ledger()
    assert entry["to_version"] == 1
    assert session.model_version == 1
    assert session.busy_seconds == sum(first.step(name).seconds for name in BUSY)
    assert session.launched_at is not None and session.last_seen_at is not None
    assert session.launched_at <= session.last_seen_at
    s3 = yard.aws.client("s3")
    for key in model_keys(shop):
        s3.head_object(Bucket=context.names.dvc_bucket, Key=key)
    pull, text = shop.pull(1)
    assert pull["state"] == "merged"
    assert "USD" in text and "t3.large" in text


@pytest.mark.timeout(300)
def test_a_new_instance_has_the_model_whose_copy_in_the_store_is_gone(shop: AwsLoopShop, first: RunRecord) -> None:
    """An instance is ephemeral, what MLflow knows isn't."""
    assert shop.yard is not None
    s3 = shop.yard.aws.client("s3")
    for key in model_keys(shop):
        s3.delete_object(Bucket=shop.yard.cloud().context.names.dvc_bucket, Key=key)
    shop.shell("git", "pull", "--quiet")
    said = shop.shell("python", "WMS/scripts/sync_model_aws.py")
    assert "The instance is absent; starting it." in said and "Stopping the instance." in said
    assert (shop.demo_folder.clone / "WMS/models/production.pth").is_file()
    assert shop.yard.left() == {}
