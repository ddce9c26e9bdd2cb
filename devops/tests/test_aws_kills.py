"""The cloud at AWS, disturbed where it hurts most; `make bench-cloud ARGS=--kills` disturbs it at every step.

The real Terraform with its real provider, moto as AWS; whoever tears down is another machine with the same holder.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aws_gate import Gate
from aws_server import AwsServer
from aws_yard import Yard
from cloud_kills import LAUNCHING, STORING, SWEEPING, disturbed, run
from slices import of_this_commit

from wms_ops.cost.sessions import EndedBy
from wms_ops.storage.names import DEADLINE_TAG

pytest_plugins = ["aws_fixtures"]


@pytest.fixture(scope="module")
def yard_of_module(aws_of_module: AwsServer, tmp_path_factory: pytest.TempPathFactory) -> Yard:
    return Yard(aws_of_module, tmp_path_factory.mktemp("yard"))


@pytest.fixture
def yard(yard_of_module: Yard) -> Iterator[Yard]:
    """An environment where nothing runs; what lasts is there, but for the first test."""
    yield yard_of_module
    if yard_of_module.left():  # a failure of one test is none of the next
        yard_of_module.aws.reset()


CASES = [
    ("up", "session", "kill"),
    ("up", STORING, "kill"),
    ("up", LAUNCHING, "kill"),
    ("up", LAUNCHING, "cancel"),
    ("up", "applied", "expired"),
    ("up", "bucket", "throttled"),
    ("down", "terminated", "kill"),
    ("down", SWEEPING, "cancel"),
]
"""A command, its step and what happens there; each commit's run tries one of them."""


@pytest.mark.parametrize(("verb", "at", "how"), of_this_commit("kills of a cloud", CASES, 1))
def test_whatever_stops_it_the_next_teardown_leaves_nothing(
    verb: str, at: str, how: str, yard: Yard, capsys: pytest.CaptureFixture[str]
) -> None:
    with Gate(yard.aws) as gate:
        # Terraform's pauses after a refusal are random and grow: each third refused took 147 to more than 240 s.
        outcome = disturbed(yard, gate, verb, at, how, throttled_each=6)
    with capsys.disabled():
        print(f"\n{outcome.line}")
    assert outcome.code is not None, "the step was never reached"
    assert outcome.second_code == 0
    assert outcome.after == {}
    assert not outcome.bad, "a throttled API only makes it slower"


@pytest.mark.parametrize("lacks", of_this_commit("a teardown lacks", ["the program", "the registry"], 1))
def test_a_teardown_without_terraform_ends_everything(lacks: str, yard: Yard, tmp_path: Path) -> None:
    assert run(yard, "up", "laptop").returncode == 0
    silent = tmp_path / "silent.rc"  # nothing listens on port 9
    silent.write_text('provider_installation {\n  network_mirror {\n    url = "https://127.0.0.1:9/"\n  }\n}\n')
    more = {"PATH": str(tmp_path)} if lacks == "the program" else {"TF_CLI_CONFIG_FILE": str(silent)}
    ended = run(Yard(yard.aws, tmp_path, more=more), "down", "runner")
    assert ended.returncode == 0, ended.stderr
    assert yard.left() == {}
    assert run(yard, "down", "laptop").returncode == 0, "the state says, too, that nothing is there"
    assert yard.left() == {}


def test_up_twice_is_one_instance_another_holder_has_to_wait_and_one_about_to_end_is_replaced(yard: Yard) -> None:
    ended_before = len(yard.cloud().sessions())
    assert run(yard, "up", "laptop").returncode == 0
    assert run(yard, "up", "laptop").returncode == 0
    assert yard.left()["instances"] == 1
    other = Yard(yard.aws, yard.folder, more={"WMS_HOLDER": "ben@desk"})
    for verb in ("up", "down"):
        refused = run(other, verb, "desk")
        assert refused.returncode == 85
        assert "in use by ana@laptop since" in refused.stderr
    assert yard.left()["instances"] == 1, "nothing is destroyed under the first one's feet"

    (first,) = yard.cloud().context.instances()
    soon = datetime.now(UTC) + timedelta(minutes=1)
    yard.aws.client("ec2").create_tags(Resources=[first.id], Tags=[{"Key": DEADLINE_TAG, "Value": soon.isoformat()}])
    assert run(yard, "up", "laptop").returncode == 0
    (second,) = yard.cloud().context.instances()
    assert second.id != first.id
    assert run(yard, "down", "laptop").returncode == 0
    assert yard.left() == {}
    assert run(yard, "down", "laptop").returncode == 0, "a second teardown finds nothing to do"
    sessions = yard.cloud().sessions()[ended_before:]
    assert [one.launch_id for one in sessions] == [first.launch_id, second.launch_id], "both are in the bill"
    assert [one.ended_by for one in sessions] == [EndedBy.DOWN, EndedBy.DOWN]
