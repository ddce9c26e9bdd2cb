"""The loop over AWS, as its commands are typed: photos pushed to a bucket, an instance that comes, trains and goes.

moto plays AWS, with the real Terraform; a hypervisor boots what runs there on loopback, with its real user data.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aws_server import AwsServer
from aws_yard import Yard
from instance_shop import Hypervisor
from loop_shop import LoopShop
from servers import free_port

from wms.registry.lineage import FILES
from wms_ops.cost.estimate import BUSY
from wms_ops.cost.sessions import EndedBy, Purpose
from wms_ops.demo.folder import build
from wms_ops.loop.contexts import local_cloud
from wms_ops.release.sources import key_of
from wms_ops.runs.record import RunOutcome

pytest_plugins = ["aws_fixtures"]


@dataclass
class AwsLoopShop(LoopShop):
    """A person with AWS credentials and no server here."""

    yard: Yard | None = None

    @property
    def environ(self) -> dict[str, str]:
        assert self.yard is not None
        names = self.yard.cloud("loop/aws").context.names
        ours = {"WMS_CLOUD": "aws", "WMS_DVC_URL": names.dvc_url, "WMS_INSTANCE_ADDRESS": "127.0.0.1"}
        given = {key: value for key, value in self.yard.environ.items() if key.startswith(("AWS_", "WMS_", "TF_"))}
        return {**self.demo_folder.environ({**given, **ours}), "OMP_NUM_THREADS": "1"}

    def cloud_command(self, *words: str, expect: int | None = 0) -> str:
        return self.shell(
            "devops/scripts/cloud.sh", *words, "--folder", str(self.demo_folder.loop / "aws"), expect=expect
        )

    def ports(self) -> None:
        """The person's own choices, which Git ignores."""
        text = f"hours = 2\nmlflow_port = {free_port()}\nservice_port = {free_port()}\n"
        (self.demo_folder.clone / "infrastructure/terraform/wms.tfvars").write_text(text)


@pytest.fixture
def shop(aws: AwsServer, tmp_path: Path) -> Iterator[AwsLoopShop]:
    demo_folder = build(tmp_path / "a löop")
    with Hypervisor(aws, tmp_path / "machines", seconds_per_minute=20):
        shop = AwsLoopShop(demo_folder, local_cloud(demo_folder.loop), yard=Yard(aws, tmp_path))
        shop.ports()
        yield shop


@pytest.mark.timeout(300)
def test_photos_are_pushed_to_a_bucket_and_an_instance_comes_trains_and_goes(shop: AwsLoopShop) -> None:
    assert shop.yard is not None
    said = shop.cloud_command("store")
    assert "name it with `wms init --bucket s3://wms-main-dvc-123456789012-eu-central-1/dvc`" in said
    assert "The buckets are there already." in shop.cloud_command("store")
    shop.set_up({}, 40)

    record = shop.first_version()
    assert shop.yard.left() == {}, "the run has ended its instance"

    context = shop.yard.cloud().context
    (session,) = context.sessions.sessions("main")
    assert (session.run, session.purpose, session.ended_by) == (record.id, Purpose.PIPELINE, EndedBy.DOWN)
    (entry,) = shop.ledger()
    assert entry["to_version"] == 1
    assert session.model_version == 1
    assert session.busy_seconds == sum(record.step(name).seconds for name in BUSY)
    assert session.launched_at is not None and session.last_seen_at is not None
    assert session.launched_at <= session.last_seen_at
    s3 = shop.yard.aws.client("s3")
    keys = [f"dvc/{key_of(entry['weights_sha256'], name)}" for name in FILES]
    for key in keys:
        s3.head_object(Bucket=context.names.dvc_bucket, Key=key)
    pull, text = shop.pull(1)
    assert pull["state"] == "merged"
    assert "USD" in text and "t3.large" in text

    # An instance is ephemeral, what MLflow knows isn't: with the store's copy gone, a new one has the model.
    for key in keys:
        s3.delete_object(Bucket=context.names.dvc_bucket, Key=key)
    shop.shell("git", "pull", "--quiet")
    said = shop.shell("python", "WMS/scripts/sync_model_aws.py")
    assert "The instance is absent; starting it." in said and "Stopping the instance." in said
    assert (shop.demo_folder.clone / "WMS/models/production.pth").is_file()
    assert shop.yard.left() == {}


@pytest.mark.timeout(300)
def test_a_run_that_is_cancelled_leaves_no_instance_and_the_next_one_finishes_it(shop: AwsLoopShop) -> None:
    assert shop.yard is not None
    shop.cloud_command("store")
    shop.set_up({}, 40)
    shop.commit_photos(25)
    branch = shop.push()
    process = shop.start(branch)
    log = shop.demo_folder.folder / "started.log"
    while "train" not in (text := log.read_text(errors="replace")) or "epoch" not in text.lower():
        assert process.poll() is None, text
    context = shop.yard.cloud().context
    password = context.aws.ssm.get_parameter(Name=context.names.password_parameter, WithDecryption=True)["Parameter"][
        "Value"
    ]
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 130, log.read_text()
    assert shop.yard.left() == {}
    broken = shop.record(branch)
    assert broken.outcome is not RunOutcome.MERGED
    assert "Merged: version 1 is Production" in shop.run(branch)
    assert shop.record(branch).id == broken.id, "the same run went on"
    kept = [path for path in (log, *shop.demo_folder.loop.rglob("*")) if path.is_file() and ".git" not in path.parts]
    assert [path for path in kept if password.encode() in path.read_bytes()] == [], "a password in a file"
    assert shop.yard.left() == {}
    sessions = shop.yard.cloud().context.sessions.sessions("main")
    assert [one.run for one in sessions] == [broken.id, broken.id]
    assert json.loads(shop.on_main("model-metadata.json") or "{}")["model_version"] in (1, "1")
