"""An instance that somebody has protected against its end ends all the same, and status says what was set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aws_server import AwsServer
from aws_yard import Yard

from wms_ops.cost.session_store import S3SessionStore
from wms_ops.targets.aws import show
from wms_ops.targets.aws.inventory import Resource
from wms_ops.targets.aws.kinds import ResourceKind
from wms_ops.targets.aws.reap import Overdue, note_ends, reap
from wms_ops.targets.aws.store_root import ensure_state_bucket
from wms_ops.targets.aws.teardown import take_down

pytest_plugins = ["aws_fixtures"]


@pytest.fixture
def yard(aws: AwsServer, tmp_path: Path) -> Yard:
    return Yard(aws, tmp_path)


def launched(yard: Yard, **more: object) -> str:
    """An instance with a launch's tags."""
    deadline = (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="seconds")
    tags = {"wms:environment": "main", "wms:part": "instance", "wms:deadline": deadline, "wms:owner": "ana@laptop"}
    told = [{"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}]
    ec2, image = yard.aws.client("ec2"), "ami-12c6146b"
    made = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=told, **more)
    return str(made["Instances"][0]["InstanceId"])


def protect(yard: Yard, instance: str) -> None:
    for name in ("DisableApiTermination", "DisableApiStop"):
        ec2: Any = yard.aws.client("ec2")
        ec2.modify_instance_attribute(InstanceId=instance, **{name: {"Value": True}})


def states(yard: Yard) -> set[str]:
    found = yard.aws.client("ec2").describe_instances()["Reservations"]
    return {one["State"]["Name"] for group in found for one in group["Instances"]}


ATTACK = pytest.mark.attack(
    "a job at GitHub", "an instance protected against its end", "each end takes the protection off"
)


@ATTACK
@pytest.mark.parametrize("has_bucket", [True, False], ids=["a teardown", "a sweep"])
def test_down_ends_a_protected_instance(has_bucket: bool, yard: Yard) -> None:
    cloud = yard.cloud()
    if has_bucket:
        ensure_state_bucket(cloud.context.aws.s3, cloud.context.names)
    protect(yard, launched(yard))
    cloud.down()
    assert states(yard) == {"terminated"}


@ATTACK
def test_the_reaper_ends_a_protected_instance(yard: Yard) -> None:
    protect(yard, launched(yard))
    late = datetime.now(UTC) + timedelta(hours=2)
    clients = yard.cloud().context.aws
    (gone,) = [
        one
        for one in reap(clients, environment=None, is_held=lambda _: False, show=yard.said.append, now=late)
        if one.resource.kind == "instance"
    ]
    assert gone.reason.startswith("past its deadline")
    assert states(yard) == {"terminated"}


def test_status_says_what_keeps_an_instance_from_its_end(yard: Yard) -> None:
    plain = launched(yard, InstanceInitiatedShutdownBehavior="terminate")
    text = show.status_text(yard.cloud())
    assert plain in text and "protected" not in text and "only stops it" not in text
    protect(yard, launched(yard, InstanceInitiatedShutdownBehavior="stop"))
    text = show.status_text(yard.cloud())
    for name in ("DisableApiTermination", "DisableApiStop"):
        assert text.count(f"It is protected against its end ({name}); a teardown takes that off.") == 1
    assert text.count("Its own deadline only stops it, and its disk goes on costing") == 1


@pytest.mark.attack(
    "someone who may write the state's bucket",
    "a session's record that can't be read, to hide an instance or keep it from its end",
    "the bill says so, and all else goes on",
)
def test_a_damaged_record_of_the_bill_hides_no_instance_and_stops_no_end(yard: Yard) -> None:
    plain, context, launch = launched(yard), yard.cloud().context, "20261125-153000-ab12cd"
    ensure_state_bucket(context.aws.s3, context.names)
    context.leases.take(context.holder, context.now())
    context.leases.amend(context.holder, launch_id=launch)
    key = f"sessions/main/{launch}.json"
    context.state.put(key, b"{")
    text = show.status_text(yard.cloud())
    assert plain in text and "has cost isn't known. The record s3://" in text and "of a session is damaged" in text
    gone = [Overdue(Resource(ResourceKind.INSTANCE, plain, "main", launch_id=launch), "late")]
    note_ends(S3SessionStore(context.state), gone, context.now(), yard.said.append)
    assert "the bill lacks an end. The record s3://" in yard.said[-1]
    take_down(context)
    assert states(yard) == {"terminated"}
    assert any("the bill lacks this end. The record s3://" in said for said in yard.said)
    lease = context.leases.read()
    assert lease is not None and lease.is_over(context.now())
    assert "isn't known" in show.after_stop(yard.cloud())


@pytest.mark.attack(
    "whoever may tag", "a launch whose name leads out of the loop's folder", "a name that no start writes is none"
)
@pytest.mark.parametrize("launch", ["x/../../../evil", "a" * 250, "../x", "", " x"])
def test_a_launch_that_no_start_named_is_none(yard: Yard, launch: str) -> None:
    plain = launched(yard)
    yard.aws.client("ec2").create_tags(Resources=[plain], Tags=[{"Key": "wms:launch", "Value": launch}])
    assert [one.launch_id for one in yard.cloud().context.instances()] == [""]
    assert plain in show.status_text(yard.cloud())
