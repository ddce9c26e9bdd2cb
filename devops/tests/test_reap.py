"""The reaper takes what is past its deadline and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aws_faults import Faults
from aws_litter import clients_of, make, snapshot, tagged, tags_of
from aws_server import ACCOUNT, REGION, AwsServer

from wms.errors import run_main
from wms_ops.base.errors import CloudError, CredentialsExpiredError
from wms_ops.commands.cloud_reap import COMMAND
from wms_ops.cost.prices import Choice
from wms_ops.cost.session_store import S3SessionStore
from wms_ops.cost.sessions import EndedBy, Purpose, begin
from wms_ops.storage.bucket import Bucket
from wms_ops.storage.names import Names
from wms_ops.targets.aws.inventory import Resource, find
from wms_ops.targets.aws.kinds import ResourceKind
from wms_ops.targets.aws.reap import Overdue, note_ends, orphans, overdue, reap

pytest_plugins = ["aws_fixtures"]

NOW = datetime(2026, 11, 25, 18, 30, tzinfo=UTC)
EARLIER = NOW - timedelta(minutes=30)
LATER = NOW + timedelta(minutes=30)
STATE = "instance/main.tfstate"
BUCKET = Names("main", ACCOUNT, REGION).state_bucket


def resource(kind: ResourceKind = ResourceKind.INSTANCE, environment: str = "main", **values: Any) -> Resource:
    values = {"deadline": EARLIER, "created": NOW - timedelta(hours=3), **values}
    return Resource(kind, f"{kind}-{environment}", environment, **values)


def gone(resources: list[Resource]) -> dict[Resource, str]:
    return {one.resource: one.reason for one in overdue(resources, NOW)}


# -- the decisions


def test_what_is_past_its_deadline_and_the_grace() -> None:
    assert gone([resource()]) == {resource(): "past its deadline by 30 min"}
    assert not gone([resource(deadline=LATER)])
    assert not gone([resource(deadline=NOW - timedelta(minutes=10))]), "the machine ends itself then"
    assert gone([resource(deadline=NOW - timedelta(minutes=10, seconds=1))])


def test_without_a_readable_deadline_a_day_is_enough() -> None:
    assert not gone([resource(deadline=None, created=NOW - timedelta(hours=24))])
    old = resource(deadline=None, created=NOW - timedelta(hours=25))
    assert gone([old]) == {old: "without a readable deadline, and 25 h old"}
    assert not gone([resource(deadline=None, created=None)])


@pytest.mark.attack("whoever may tag", "an instance's deadline moved to the year 2099", "its age counts")
def test_a_deadline_that_no_start_writes_ends_after_the_longest_life() -> None:
    never = datetime(2099, 1, 1, tzinfo=UTC)
    assert not gone([resource(deadline=never), resource(deadline=NOW + timedelta(hours=45, minutes=10))])
    old = resource(deadline=never, created=NOW - timedelta(hours=49))
    assert gone([old]) == {old: "49 h old, and no instance may live for more than 48 hours"}
    assert not gone([resource(deadline=never, created=None)])


def test_a_network_that_a_living_instance_uses_stays() -> None:
    network, volume = resource(ResourceKind.VPC), resource(ResourceKind.VOLUME)
    alive = resource(deadline=LATER)
    assert set(gone([network, volume, alive])) == {volume}
    assert set(gone([network, volume, resource()])) == {network, volume, resource()}
    elsewhere = resource(deadline=LATER, environment="other")
    assert set(gone([network, volume, elsewhere])) == {network, volume}


def test_orphans_are_over_an_hour_old_and_have_no_instance() -> None:
    network = resource(ResourceKind.VPC, deadline=LATER)
    young = resource(ResourceKind.SUBNET, deadline=LATER, created=NOW - timedelta(minutes=59))
    assert [one.resource for one in orphans([network], NOW)] == [network]
    assert not orphans([network, young], NOW), "Terraform is making them"
    for kind in (ResourceKind.INSTANCE, ResourceKind.SPOT):
        assert not orphans([network, resource(kind, deadline=LATER)], NOW)
    assert orphans([network, resource(environment="other")], NOW)
    assert orphans([resource(ResourceKind.VPC, deadline=None, created=None)], NOW)


# -- against AWS


def reaped(aws: AwsServer, *, held: tuple[str, ...] = (), **options: Any) -> dict[str, str]:
    options = {"environment": None, "now": NOW, "show": lambda _: None, **options}
    found = reap(clients_of(aws), is_held=lambda one: one in held, **options)
    return {one.resource.id: one.reason for one in found}


def left(aws: AwsServer) -> set[str]:
    return {one.environment for one in find(clients_of(aws), environment=None)}


def test_of_all_environments_the_overdue_ones_go(aws: AwsServer) -> None:
    make(aws, "theirs", [])
    make(aws, "wms-store", tagged({"wms:environment": "main", "wms:part": "store"}), doors=False)
    make(aws, "wms-late", tags_of("late", LATER.isoformat()))
    before = snapshot(aws)
    make(aws, "wms-main", tags_of("main"))
    make(aws, "wms-other", tags_of("other", EARLIER.isoformat()))
    assert left(aws) == {"late", "main", "other"}
    dry = reaped(aws, dry_run=True)
    assert left(aws) == {"late", "main", "other"}
    assert reaped(aws) == dry
    assert snapshot(aws) == before
    assert reaped(aws) == {}


def test_only_one_environment(aws: AwsServer) -> None:
    make(aws, "wms-main", tags_of("main"))
    make(aws, "wms-other", tags_of("other"))
    reaped(aws, environment="other")
    assert left(aws) == {"main"}


def test_while_somebody_is_at_work_only_what_costs_goes(aws: AwsServer) -> None:
    litter = make(aws, "wms-main", tags_of("main"))
    gone = reaped(aws, held=("main",))
    assert {litter.instance, litter.volume, litter.address} <= set(gone)
    assert litter.vpc not in gone
    assert left(aws) == {"main"}
    assert litter.vpc in reaped(aws)
    assert left(aws) == set()


def test_a_network_without_its_instance_goes_within_its_deadline(aws: AwsServer) -> None:
    now = datetime.now(UTC)  # by which moto dates what it makes
    late = now + timedelta(hours=2)
    litter = make(aws, "wms-main", tags_of("main", (now + timedelta(hours=9)).isoformat()))
    assert reaped(aws, now=late) == {}
    clients_of(aws).ec2.terminate_instances(InstanceIds=[litter.instance])
    assert reaped(aws, held=("main",), now=late) == {}
    assert set(reaped(aws, now=late).values()) == {"no instance belongs to it"}
    assert left(aws) == set()


def test_one_environment_that_fails_keeps_no_other_from_going(aws: AwsServer) -> None:
    litter = make(aws, "wms-main", tags_of("main"))
    make(aws, "wms-other", tags_of("other"))
    refusal = Faults(aws, lambda number, name: name == "DeleteLaunchTemplate" and number < 40, "UnauthorizedOperation")
    with pytest.raises(CloudError, match="launch template lt-"):
        reap(refusal.clients, environment=None, is_held=lambda _: False, show=lambda _: None, now=NOW)
    assert left(aws) == {"main"}
    assert {one.kind for one in find(refusal.clients, environment="main")} == {ResourceKind.TEMPLATE}
    assert litter.vpc


def test_expired_in_the_middle_and_again(aws: AwsServer) -> None:
    make(aws, "wms-main", tags_of("main"))
    expired = Faults(aws, lambda number, _: number >= 35, "RequestExpired")
    with pytest.raises(CredentialsExpiredError):
        reap(expired.clients, environment=None, is_held=lambda _: False, show=lambda _: None, now=NOW)
    reaped(aws)
    assert left(aws) == set()


# -- the command


def test_the_command_reports_what_is_gone(
    aws: AwsServer, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    assert run_main(COMMAND, []) == 0
    assert "Nothing in eu-central-1 is past its deadline." in capsys.readouterr().out
    litter = make(aws, "wms-main", tags_of("main", "2020-01-01T00:00:00+00:00"))
    assert run_main(COMMAND, ["--all", "--dry-run"]) == 0
    assert "would go: 17" in capsys.readouterr().out
    assert left(aws) == {"main"}
    assert run_main(COMMAND, ["--environment", "other"]) == 0
    assert left(aws) == {"main"}
    capsys.readouterr()
    assert run_main(COMMAND, ["--environment", "main"]) == 0
    said = capsys.readouterr().out
    assert "gone: 17" in said
    assert all(part in said for part in (litter.instance, litter.vpc, "ana@laptop", "past its deadline by"))
    assert f"| {litter.instance} |" in (tmp_path / "summary").read_text()
    assert left(aws) == set()


def test_a_users_mistakes(aws: AwsServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_main(COMMAND, ["--environment", "Main!"]) == 2
    assert "small letters" in capsys.readouterr().err
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    assert run_main(COMMAND, []) == 70
    assert capsys.readouterr().err.count("\n") == 1


def test_the_bill_has_the_end_of_what_was_reaped(aws: AwsServer) -> None:
    aws.make_bucket("wms-state")
    store = S3SessionStore(Bucket("wms-state", aws.client("s3")))
    begun = datetime(2026, 11, 25, 15, tzinfo=UTC)
    session = begin(Choice(), launch_id="20261125-150000-ab12cd", environment="main", now=begun, purpose=Purpose.MANUAL)
    store.create(session)
    there = [
        Overdue(Resource(ResourceKind.INSTANCE, "i-1", "main", launch_id=session.launch_id), "late"),
        Overdue(Resource(ResourceKind.INSTANCE, "i-2", "main", launch_id="20261125-160000-nobody"), "late"),
        Overdue(Resource(ResourceKind.VPC, "vpc-1", "main", launch_id=session.launch_id), "late"),
    ]
    now = begun + timedelta(hours=3)
    note_ends(store, there, now)
    found = store.read("main", session.launch_id)
    assert found is not None
    assert (found.ended_at, found.ended_by) == (now, EndedBy.REAPER)
