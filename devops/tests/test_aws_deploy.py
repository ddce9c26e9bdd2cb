"""From deploy to stop with everything but AWS itself: Terraform, user data, bootstrap, agent, MLflow, the service.

moto plays AWS, and a hypervisor boots what runs there on loopback; a minute of an instance's timers takes a second.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aws_server import AwsServer
from aws_yard import CALLER, Yard
from cloud_shop import Models
from instance_shop import Hypervisor
from servers import free_port

from wms_ops.commands import cloud_aws
from wms_ops.cost.sessions import EndedBy
from wms_ops.git.command import Git
from wms_ops.machine.answers import ask
from wms_ops.machine.types import CloudState
from wms_ops.targets.aws import show
from wms_ops.targets.aws.cloud import AwsCloud
from wms_ops.targets.aws.deploy import deploy
from wms_ops.targets.aws.reap import reap
from wms_ops.targets.aws.teardown import take_down

pytest_plugins = ["aws_fixtures"]
pytestmark = pytest.mark.slice("deployments at AWS", of=2, number=0)


@pytest.fixture
def hypervisor(aws: AwsServer, tmp_path: Path) -> Iterator[Hypervisor]:
    with Hypervisor(aws, tmp_path / "machines", seconds_per_minute=1) as machines:
        yield machines


def cloud_of(yard: Yard, minutes: int) -> AwsCloud:
    cloud = yard.cloud(WMS_INSTANCE_ADDRESS="127.0.0.1", WMS_BUDGET_USD="20")
    ports = {"mlflow_port": free_port(), "service_port": free_port()}
    context = replace(cloud.context, settings=cloud.context.settings.model_copy(update=ports))
    return replace(cloud, context=context, lifetime=timedelta(minutes=minutes))


def _rules_in(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [rule for group in answer["SecurityGroups"] for rule in group["IpPermissions"]]


def test_deploy_use_and_stop(aws: AwsServer, hypervisor: Hypervisor, tmp_path: Path) -> None:
    yard = Yard(aws, tmp_path / "yard")
    made = Models.make(tmp_path / "made")
    models = tmp_path / "models"
    shutil.copytree(made.two.model, models)
    shutil.copytree(made.two.ledger, models, dirs_exist_ok=True)
    cloud = cloud_of(yard, minutes=600)

    assert deploy(cloud, models, is_sure=True) == 0
    said = "\n".join(yard.said)
    assert "costs about 0.10" in said and "an hour" in said
    hypervisor.wait(lambda: "MLflow: done" in show.status_text(cloud), "the report of the start")
    assert f"Service:  http://127.0.0.1:{cloud.context.settings.service_port}/" in said
    assert cloud.status() is CloudState.RUNNING
    endpoints = cloud.endpoints()
    assert endpoints is not None and endpoints.service is not None
    assert str(ask(f"{endpoints.service}/version")[1]["version"]) == str(made.two.version)
    opened = aws.client("ec2").describe_security_groups(Filters=[{"Name": "tag:wms:environment", "Values": ["main"]}])
    rules = {(rule["FromPort"], *[one["CidrIp"] for one in rule["IpRanges"]]) for rule in _rules_in(opened)}
    assert rules == {(port, f"{CALLER}/32") for port in cloud.context.ports}
    assert cloud.revoke(cloud.context.visitor) == 2
    assert cloud.allow(cloud.context.visitor) == CALLER
    (instance,) = cloud_aws.facts(cloud)["instances"]
    assert instance["state"] == "running" and json.dumps(instance)
    summary = cloud_aws.summary(cloud)
    assert summary["until"] == f"{cloud.context.instances()[0].deadline:%Y-%m-%d %H:%M} UTC"
    assert "has cost " in summary["cost"]
    password = cloud.environ()["MLFLOW_TRACKING_PASSWORD"]
    assert password not in said and password not in show.status_text(cloud)

    heard: list[str] = []
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    Git(workspace)("init", "--quiet")
    script = "import os, pathlib as p; p.Path('runs').mkdir(); p.Path('runs/a.txt').write_text('there')"
    script += "; print(os.environ['WORD'])"
    command = [sys.executable, "-c", script]
    done = cloud.run(command, folder=workspace, log=tmp_path / "log", environ={"WORD": "hello"}, show=heard.append)
    assert (done, heard, (workspace / "runs/a.txt").read_text()) == (0, ["hello"], "there")

    take_down(cloud.context, force=True)
    assert yard.left() == {}
    assert cloud.status() is CloudState.ABSENT
    (session,) = cloud.sessions()
    assert session.launched_at is not None and session.ended_by is EndedBy.DOWN
    backups = aws.client("s3").list_objects_v2(Bucket=cloud.context.names.mlflow_bucket, Prefix="backup/main/")
    assert backups["KeyCount"] >= 2, "the last backup was made before the end"


def test_where_nobody_comes_the_machine_ends_itself_and_the_reaper_takes_the_rest(
    aws: AwsServer, hypervisor: Hypervisor, tmp_path: Path
) -> None:
    yard = Yard(aws, tmp_path / "yard")
    cloud = cloud_of(yard, minutes=45)  # of a second each: long enough for the launch
    cloud.up()
    hypervisor.wait(lambda: "instances" not in yard.left(), "the end of the instance at its deadline")
    assert not {"volumes", "addresses"} & set(yard.left()), "nothing that costs is left"
    context = cloud.context
    later = context.now() + timedelta(hours=2)
    reap(context.aws, environment=None, is_held=lambda _: False, show=yard.said.append, now=later)
    assert yard.left() == {}
    take_down(context)
    (session,) = cloud.sessions()
    assert session.ended_by is not None
