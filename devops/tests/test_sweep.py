"""What an environment left at AWS goes, whatever interrupts the sweep; nobody else's things are touched."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import pytest
from aws_faults import Faults
from aws_litter import clients_of, make, snapshot, specification, tagged, tags_of
from aws_server import AwsServer
from slices import of_this_commit

from wms_ops.base.errors import CloudError, CredentialsExpiredError
from wms_ops.targets.aws.access import allow
from wms_ops.targets.aws.inventory import Resource, find
from wms_ops.targets.aws.kinds import ResourceKind
from wms_ops.targets.aws.sweep import prove_nothing_left, sweep

pytest_plugins = ["aws_fixtures"]

# Sweeps an environment; prints each step, and dies at the one with the wanted number.
DRIVER = """
import os, signal, sys
from types import SimpleNamespace
import boto3
from wms_ops.targets.aws.inventory import find
from wms_ops.targets.aws.sweep import sweep

count, wanted = 0, int(sys.argv[1])
def step(name):
    global count
    print(name, flush=True)
    if count == wanted:
        os.kill(os.getpid(), signal.SIGKILL)
    count += 1
clients = SimpleNamespace(ec2=boto3.client("ec2"), iam=boto3.client("iam"))
sweep(clients, find(clients, environment="main"), lambda _: None, step)
"""


def found(aws: AwsServer, environment: str | None = "main") -> tuple[Resource, ...]:
    return find(clients_of(aws), environment=environment)


def sweep_all(aws: AwsServer, **options: Any) -> None:
    sweep(clients_of(aws), found(aws), lambda _: None, **options)


def prove(aws: AwsServer, patience_s: float = 0.0) -> None:
    prove_nothing_left(clients_of(aws), environment="main", patience_s=patience_s)
    assert not found(aws)


def neighbours(aws: AwsServer) -> None:
    """Another environment whose name begins like ours, somebody's untagged things, and a store of ours."""
    make(aws, "wms-main-2", tags_of("main-2"))
    make(aws, "theirs", [])
    store = tagged({"wms:environment": "main", "wms:part": "store"})
    make(aws, "wms-main-store", store, doors=False)  # what is open there is the launch's


def test_a_whole_environment_goes_and_nothing_else(aws: AwsServer) -> None:
    neighbours(aws)
    before = snapshot(aws)
    make(aws, "wms-main", tags_of("main"))
    resources = found(aws)
    # One of each kind, but for: two volumes, two network interfaces, two groups with a rule each; moto has no spot
    # request here.
    assert {one.kind for one in resources} == set(ResourceKind) - {ResourceKind.SPOT}
    assert len(resources) == len(ResourceKind) - 1 + 4
    assert {(one.environment, one.owner, one.launch_id[:8]) for one in resources} == {
        ("main", "ana@laptop", "20261125")
    }
    assert all(one.deadline and one.deadline.hour == 18 and one.created for one in resources)
    shown: list[str] = []
    sweep(clients_of(aws), resources, shown.append)
    prove(aws)
    assert snapshot(aws) == before
    assert [text.split()[1] for text in shown][:2] == ["instance", "elastic"]


def test_what_costs_goes_first(aws: AwsServer) -> None:
    make(aws, "wms-main", tags_of("main"))
    costs = [one.costs for one in found(aws)]
    assert costs == sorted(costs, reverse=True)
    assert sum(costs) == 4


def lose_tags(aws: AwsServer, ids: list[str]) -> None:
    ec2 = clients_of(aws).ec2
    ec2.delete_tags(Resources=ids, Tags=[{"Key": one["Key"]} for one in tags_of("main")])
    assert ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": ids}])["Tags"] == []


def test_children_that_lost_their_tags_are_found_by_their_parents(aws: AwsServer) -> None:
    litter = make(aws, "wms-main", tags_of("main"))
    lost = [litter.root_volume, litter.primary_interface, litter.interface]
    lose_tags(aws, lost)
    resources = {one.id: one for one in found(aws)}
    assert set(lost) <= set(resources)
    assert {resources[one].deadline for one in lost} == {resources[litter.vpc].deadline}
    sweep_all(aws)
    prove(aws)


def test_what_is_open_in_the_lasting_network_goes_and_the_network_stays(aws: AwsServer) -> None:
    ec2 = clients_of(aws).ec2
    lasting = tagged({"wms:environment": "main", "wms:part": "store"})
    vpc = ec2.create_vpc(CidrBlock="10.73.0.0/24", TagSpecifications=specification("vpc", lasting))["Vpc"]["VpcId"]
    group = ec2.create_security_group(
        GroupName="wms-main", Description="x", VpcId=vpc, TagSpecifications=specification("security-group", lasting)
    )["GroupId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.73.0.0/27")["Subnet"]["SubnetId"]
    before = snapshot(aws)
    allow(ec2, group, "203.0.113.7", (5000, 8000), "ana@laptop")
    interface = ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
    resources = found(aws)
    assert [one.kind for one in resources] == [ResourceKind.INTERFACE, ResourceKind.RULE, ResourceKind.RULE]
    assert resources[0].id == interface
    assert {one.parent for one in resources[1:]} == {group}
    with pytest.raises(CloudError, match="ingress rule sgr-"):
        prove(aws, patience_s=0.1)
    sweep_all(aws)
    prove(aws)
    assert snapshot(aws) == before


def test_a_persons_volume_and_instance_in_our_network_are_not_ours(aws: AwsServer) -> None:
    ec2 = clients_of(aws).ec2
    litter = make(aws, "wms-main", tags_of("main"))
    lose_tags(aws, [litter.volume])  # attached by hand: AWS wouldn't delete it with the instance
    theirs = ec2.run_instances(ImageId=aws.image, MinCount=1, MaxCount=1, SubnetId=litter.subnet)["Instances"][0]
    interface = theirs["NetworkInterfaces"][0]["NetworkInterfaceId"]
    ids = {one.id for one in found(aws)}
    assert not ids & {litter.volume, theirs["InstanceId"], interface}
    assert {litter.instance, litter.root_volume, litter.primary_interface} <= ids


def test_a_spot_request_goes_before_its_instance(aws: AwsServer) -> None:
    ec2 = clients_of(aws).ec2
    request = ec2.request_spot_instances(
        SpotPrice="0.5",
        LaunchSpecification={"ImageId": aws.image, "InstanceType": "t3.large"},
        TagSpecifications=[{"ResourceType": "spot-instances-request", "Tags": tags_of("main")}],
    )["SpotInstanceRequests"][0]
    ec2.create_tags(Resources=[request["SpotInstanceRequestId"]], Tags=tags_of("main"))
    resources = found(aws)
    assert [one.kind for one in resources][:1] == [ResourceKind.SPOT]
    sweep_all(aws)
    assert ResourceKind.SPOT not in {one.kind for one in found(aws)}


def test_more_than_a_page_of_roles(aws: AwsServer) -> None:
    iam = aws.client("iam")
    for number in range(120):  # a page has 100
        iam.create_role(RoleName=f"a-{number}", AssumeRolePolicyDocument="{}")
    make(aws, "wms-main", tags_of("main"))
    assert [one.id for one in found(aws) if one.kind is ResourceKind.ROLE] == ["wms-main-instance"]


def test_things_that_are_gone_already_are_fine(aws: AwsServer) -> None:
    make(aws, "wms-main", tags_of("main"))
    resources = found(aws)
    for _ in range(2):
        sweep(clients_of(aws), resources, lambda _: None, patience_s=5)
    prove(aws)


@pytest.mark.timeout(300)
def test_killed_at_each_step_and_run_again(aws: AwsServer, capsys: pytest.CaptureFixture[str]) -> None:
    """At a quarter of the steps, others for each commit; `make bench-cloud ARGS=--kills` disturbs whole teardowns."""
    make(aws, "wms-main-2", tags_of("main-2"))
    before = snapshot(aws)
    rows = []
    steps = 24
    for number in [*of_this_commit("kills of a sweep", range(steps), steps // 4), steps]:
        make(aws, "wms-main", tags_of("main"))
        command = [sys.executable, "-c", DRIVER, str(number)]
        killed = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if number == steps:
            assert killed.returncode == 0, "there are no more steps"
            break
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        left = found(aws)
        sweep_all(aws)
        prove(aws)
        assert snapshot(aws) == before
        subject, done = killed.stdout.splitlines()[number].split(": ")
        costly = sum(one.costs for one in left)
        rows.append(f"  {subject.rsplit(' ', 1)[0]:18} {done:16} SIGKILL  {len(left):2} left, {costly} cost; again: 0")
    assert snapshot(aws) == before
    with capsys.disabled():
        print("\nkill matrix of a sweep: step, fault, what the second run found and what it left\n" + "\n".join(rows))


@pytest.mark.parametrize("after", of_this_commit("keys that expire", [0, 1, 3, 6, 10, 15, 20], 3))
def test_credentials_that_expire_in_the_middle(aws: AwsServer, after: int) -> None:
    make(aws, "wms-main", tags_of("main"))
    expired = Faults(aws, lambda number, _: number >= after, "RequestExpired")
    with pytest.raises(CredentialsExpiredError, match="Start Lab"):
        sweep(expired.clients, found(aws), lambda _: None)
    assert expired.refused == 1, "nothing is gained by asking again"
    assert found(aws)
    sweep_all(aws)
    prove(aws)


def test_a_throttled_api_only_takes_longer(aws: AwsServer) -> None:
    make(aws, "wms-main", tags_of("main"))
    resources = found(aws)
    busy = Faults(aws, lambda number, _: number % 2 == 0, "RequestLimitExceeded", 503)
    sweep(busy.clients, resources, lambda _: None)
    assert busy.refused > 20
    prove(aws)


def test_one_that_fails_keeps_no_other_from_going(aws: AwsServer) -> None:
    litter = make(aws, "wms-main", tags_of("main"))
    strict = Faults(aws, lambda _, operation: operation in ("DeleteVolume", "DeleteRole"), "UnauthorizedOperation", 403)
    with pytest.raises(CloudError) as caught:
        sweep(strict.clients, found(aws), lambda _: None)
    text = str(caught.value)
    for part in (litter.volume, litter.root_volume, litter.role, "UnauthorizedOperation", "stop-cloud.sh"):
        assert part in text
    assert {one.kind for one in found(aws)} == {ResourceKind.VOLUME, ResourceKind.ROLE}
    sweep_all(aws)
    prove(aws)


IN_USE = [
    ("DeleteVpc", "DependencyViolation"),
    ("DeleteSubnet", "DependencyViolation"),
    ("DeleteVolume", "VolumeInUse"),
    ("DeleteRole", "DeleteConflict"),
]


@pytest.mark.parametrize(("operation", "code"), of_this_commit("what is in use", IN_USE, 2))
def test_what_is_still_in_use_is_tried_again_up_to_a_limit(aws: AwsServer, operation: str, code: str) -> None:
    make(aws, "wms-main", tags_of("main"))
    counted: list[int] = []

    def twice(number: int, name: str) -> bool:
        counted.append(number) if name == operation else None
        return name == operation and len(counted) <= 2

    slow = Faults(aws, twice, code)
    sweep(slow.clients, found(aws), lambda _: None)
    assert slow.refused == 2
    prove(aws)
    make(aws, "wms-main", tags_of("main"))
    never = Faults(aws, lambda _, name: name == operation, code)
    with pytest.raises(CloudError, match=code):
        sweep(never.clients, found(aws), lambda _: None, patience_s=0.3)
    assert never.refused >= 1  # how often depends on the machine; that it's more than once is shown above


def test_the_proof_fails_as_long_as_anything_is_left(aws: AwsServer) -> None:
    litter = make(aws, "wms-main", tags_of("main"))
    with pytest.raises(CloudError, match=litter.instance):
        prove(aws, patience_s=0.1)
    sweep_all(aws)
    prove(aws)
    described = clients_of(aws).ec2.describe_instances()["Reservations"][0]["Instances"][0]
    assert described["State"]["Name"] == "terminated", "which doesn't count"


def test_where_iam_may_not_be_listed_the_rest_goes_all_the_same(aws: AwsServer) -> None:
    make(aws, "wms-main", tags_of("main"))
    academy = Faults(aws, lambda _, name: name.startswith("List"), "AccessDenied", 403)
    said: list[str] = []
    resources = find(academy.clients, environment="main", show=said.append)
    assert "may not list roles" in said[0]
    assert {ResourceKind.ROLE, ResourceKind.PROFILE}.isdisjoint(one.kind for one in resources)
    assert ResourceKind.INSTANCE in {one.kind for one in resources}
