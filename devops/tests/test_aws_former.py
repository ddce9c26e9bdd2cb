"""An environment of the former version, whose every launch made a network and a role, and its way into this version.

`samples/terraform/instance-0.1` holds the former root module as it was.
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aws_server import AwsServer
from aws_yard import Yard
from terraform_tool import copied, terraform

from wms_ops.cost.sessions import EndedBy, Purpose, begin
from wms_ops.storage.names import new_launch_id
from wms_ops.targets.aws import password, show
from wms_ops.targets.aws.context import AwsContext
from wms_ops.targets.aws.inventory import find
from wms_ops.targets.aws.kinds import LASTING, ResourceKind
from wms_ops.targets.aws.launch import make_store
from wms_ops.targets.aws.network import read_network
from wms_ops.targets.aws.reap import overdue
from wms_ops.targets.aws.store_root import ensure_state_bucket
from wms_ops.targets.aws.terraform import Backend

pytest_plugins = ["aws_fixtures"]
pytestmark = pytest.mark.slice("lives at AWS", of=2, number=0)

SAMPLE = Path(__file__).parent / "samples" / "terraform" / "instance-0.1"


def launched(yard: Yard) -> AwsContext:
    """A launch of the former version, as its own files make it, with its lease, its session and its password."""
    cloud = yard.cloud()
    context, choice = cloud.context, cloud.choice()
    names, now = context.names, context.now()
    ensure_state_bucket(context.aws.s3, names)
    for bucket in (names.dvc_bucket, names.mlflow_bucket):
        yard.aws.make_bucket(bucket)
    context.leases.take(context.holder, now + timedelta(minutes=30))
    lease = context.leases.amend(context.holder, launch_id=new_launch_id(now), until=now + timedelta(hours=4))
    context.sessions.create(
        begin(choice, launch_id=lease.launch_id, environment="main", now=now, purpose=Purpose.MANUAL)
    )
    password.make_password(context.aws.ssm, names)
    backend = Backend(names.state_bucket, names.state_key("instance"), names.region, path_style=True)
    values = {
        "region": names.region,
        "environment": names.environment,
        "owner": lease.holder,
        "launch_id": lease.launch_id,
        "deadline": lease.until.isoformat(timespec="seconds"),
        "lifetime_minutes": 240,
        "bundle_bucket": names.mlflow_bucket,
        "bundle_key": "bundle/0123abcd.tar.gz",
        "bundle_sha256": "0" * 64,
        "dvc_bucket": names.dvc_bucket,
        "mlflow_bucket": names.mlflow_bucket,
    }
    root = copied(SAMPLE, yard.folder)
    (root / "terraform.tfvars.json").write_text(json.dumps(values), encoding="utf-8")
    state = [f"-backend-config={name}={value}" for name, value in backend.options.items()]
    for command in (["init", *state], ["apply", "-auto-approve", "-no-color"]):
        done = terraform(root, *command, environ=yard.environ)
        assert done.returncode == 0, done.stdout + done.stderr
    return context


@pytest.mark.timeout(300)
def test_a_former_launch_is_used_seen_and_ended_and_the_next_one_is_of_this_version(
    aws: AwsServer, tmp_path: Path
) -> None:
    yard = Yard(aws, tmp_path)
    context = launched(yard)
    (old,) = context.instances()
    former = {"instances": 1, "networks": 1, "templates": 1, "roles": 1}
    assert {name: count for name, count in yard.left().items() if name in former} == former

    cloud = yard.cloud("another")
    assert cloud.status().value == "starting"
    said = show.status_text(cloud)
    assert old.id in said
    assert "region eu-central-1 only; environment main, and the instances of all others there: none." in said
    other = yard.cloud("other", WMS_ENVIRONMENT="team")
    assert f"environment team, and the instances of all others there: main ({old.id}, running)." in show.status_text(
        other
    )
    assert f"//{old.address}:" in cloud.up().mlflow, "no second instance beside it"
    assert yard.left()["open ports"] == 2
    assert make_store(yard.cloud("third").context) is True, "what lasts is made beside the instance"
    assert [one.id for one in context.instances() if one.is_alive] == [old.id]
    assert {name: count for name, count in yard.left().items() if name in former} == former
    late = context.now() + timedelta(hours=5)
    going = {one.resource.kind for one in overdue(find(context.aws, environment=None), late)}
    assert going == {
        ResourceKind.INSTANCE,
        ResourceKind.VOLUME,
        ResourceKind.RULE,
        ResourceKind.INTERFACE,
        *LASTING,
        *_IAM,
    }

    cloud.down()
    assert yard.left() == {}
    lasting = yard.lasting()
    assert lasting["networks"] == lasting["gateways"] == lasting["groups"] == 1, "the former ones alone are gone"
    assert context.state.facts(context.names.state_key("instance")) is None

    cloud.up()
    (new,) = context.instances()
    network = read_network(context)
    assert network is not None and new.groups == (network.security_group_id,)
    assert new.launch_id != old.launch_id
    yard.cloud().down()
    assert (yard.left(), yard.lasting()) == ({}, lasting)
    assert [one.ended_by for one in yard.cloud().sessions()] == [EndedBy.DOWN, EndedBy.DOWN]


_IAM: tuple[Any, ...] = (ResourceKind.PROFILE, ResourceKind.ROLE)
