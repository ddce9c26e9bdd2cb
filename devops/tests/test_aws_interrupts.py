"""Ctrl-C and SIGTERM while an instance is started, at any time: what was begun is ended, and nothing else."""

from __future__ import annotations

import json
import signal

import psutil
import pytest
from aws_clone import Clone, eventually
from aws_litter import make, tags_of
from aws_server import AwsServer
from cost_values import session

from wms_ops.base.errors import BusyError
from wms_ops.cost.sessions import Purpose
from wms_ops.targets.aws.cloud import open_aws
from wms_ops.targets.aws.deploy import deploy, ended_if_stopped
from wms_ops.targets.aws.store_root import ensure_state_bucket

pytest_plugins = ["aws_fixtures", "aws_clone_fixtures"]
pytestmark = pytest.mark.slice("interrupts at AWS", of=2)


# Applying: it says so with a file, and ends in order at the first interrupt, as Terraform does.
APPLYING = """trap 'exit 1' INT
touch "$here/applying"
while :; do sleep 0.1; done"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_terraform_applies(clone: Clone, aws: AwsServer, number: signal.Signals) -> None:
    clone.make_store()
    clone.note_network()
    (clone.bin / "touch").write_text('#!/bin/sh\n: >"$1"\n')
    (clone.bin / "touch").chmod(0o755)
    clone.terraform(instance=APPLYING)
    process = clone.start("deploy-to-cloud", "--yes")
    eventually((clone.bin / "applying").exists)
    made = make(aws, "wms-main", tags_of("main"))  # what it has begun by then
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, out + err
    assert "Traceback" not in err and err.count("\n") == 1 and err.startswith("Stopped by the user")
    assert "ending what it has begun" in out and made.instance in out


def test_interrupted_while_the_instance_sets_itself_up(clone: Clone, aws: AwsServer) -> None:
    """Terraform is through: the instance runs and nobody waits for it any more."""
    clone.make_store()
    clone.note_network()
    (clone.bin / "touch").write_text('#!/bin/sh\n: >"$1"\n')
    (clone.bin / "touch").chmod(0o755)
    go = 'touch "$here/applying"; while [ ! -e "$here/made" ]; do sleep 0.1; done'
    clone.terraform(instance=go)
    process = clone.start("deploy-to-cloud", "--yes")
    eventually((clone.bin / "applying").exists)
    variables = json.loads((clone.folder / "terraform/main/instance/variables.tfvars.json").read_text())
    tags = tags_of("main", deadline=variables["deadline"], launch=variables["launch_id"])
    made = make(aws, "wms-main", tags)
    (clone.bin / "made").touch()
    assert process.stdout is not None
    said = ""
    while "Waiting for the instance" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    assert psutil.pid_exists(process.pid)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, out + err
    assert "Traceback" not in err and made.instance in out


@pytest.mark.parametrize("word", ["Starting a", "Waiting for the instance"])
def test_interrupted_at_a_word(clone: Clone, aws: AwsServer, word: str) -> None:
    """Between two steps as well: there is no moment after the launch at which an interrupt leaves the instance."""
    clone.make_store()
    clone.note_network()
    said: list[str] = []

    def show(text: str) -> None:
        said.append(text)
        if text.startswith("Starting a"):
            lease = cloud.context.leases.read()
            assert lease is not None
            make(aws, "wms-main", tags_of("main", deadline=lease.until.isoformat(), launch=lease.launch_id))
        if text.startswith(word):
            raise KeyboardInterrupt

    cloud = open_aws(clone.folder / "terraform", show, environ=clone.environ)
    with pytest.raises(KeyboardInterrupt):
        deploy(cloud, clone.folder / "models", is_sure=True)
    assert any(text.startswith("Ending i-") for text in said), said
    assert not [one for one in cloud.context.instances() if one.is_alive]


def test_a_run_of_the_loop_leaves_what_its_user_started_by_hand(aws: AwsServer, clone: Clone) -> None:
    clone.make_store()
    cloud = open_aws(clone.folder / "terraform", environ=clone.environ)
    context, begun = cloud.context, cloud.context.now()
    ensure_state_bucket(context.aws.s3, context.names)
    record = session(begun=begun, purpose=Purpose.MANUAL)
    context.leases.take(context.holder, record.deadline)
    context.leases.amend(context.holder, launch_id=record.launch_id)
    context.sessions.create(record)
    made = make(aws, "wms-main", tags_of("main", deadline=record.deadline.isoformat(), launch=record.launch_id))
    loops = cloud.for_run("r1")
    with pytest.raises(BusyError, match=f"{made.instance} was started by hand.*stop-cloud.sh"):
        loops.up()
    loops.down()
    assert [one.id for one in context.instances() if one.is_alive] == [made.instance]
    assert clone.run("stop-cloud", "--yes").returncode == 0


def test_an_instance_that_ran_before_survives_an_interrupt(aws: AwsServer, clone: Clone) -> None:
    clone.make_store()
    made = make(aws, "wms-main", tags_of("main"))
    cloud = open_aws(clone.folder / "terraform", environ=clone.environ)
    with pytest.raises(KeyboardInterrupt), ended_if_stopped(cloud):
        raise KeyboardInterrupt
    assert [one.id for one in cloud.context.instances() if one.is_alive] == [made.instance]
    assert clone.run("stop-cloud", "--yes").returncode == 0
