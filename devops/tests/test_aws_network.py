"""The lasting network counts as there only while AWS has all of it; else the next start lets Terraform make it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aws_network import PROFILE, make_network, tag
from aws_server import AwsServer
from aws_yard import Yard

from wms_ops.base.errors import CloudError
from wms_ops.targets.aws.context import AwsContext
from wms_ops.targets.aws.network import Network, need_network, network_is_whole, read_network
from wms_ops.targets.aws.store_root import ensure_state_bucket

pytest_plugins = ["aws_fixtures"]


@pytest.fixture
def context(aws: AwsServer, tmp_path: Path) -> AwsContext:
    context = Yard(aws, tmp_path).cloud().context
    ensure_state_bucket(context.aws.s3, context.names)
    return context


def made(aws: AwsServer, context: AwsContext) -> Network:
    """A network as the persistent root makes it, with the root's state."""
    found = Network(**make_network(aws))
    outputs = {name: {"value": value} for name, value in {**found.model_dump(), "dvc_bucket": "x"}.items()}
    body = json.dumps({"version": 4, "outputs": outputs, "resources": []})
    context.state.put(context.names.state_key("persistent"), body.encode())
    return found


def _route(ec2: Any, network: Network) -> None:
    (group,) = ec2.describe_security_groups(GroupIds=[network.security_group_id])["SecurityGroups"]
    tables = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [group["VpcId"]]}])["RouteTables"]
    ec2.delete_route(RouteTableId=tables[0]["RouteTableId"], DestinationCidrBlock="0.0.0.0/0")


LOSSES: dict[str, Callable[[Any, Any, Network], object]] = {
    "a subnet": lambda ec2, _, network: ec2.delete_subnet(SubnetId=network.subnets["eu-central-1b"]),
    "the group": lambda ec2, _, network: ec2.delete_security_group(GroupId=network.security_group_id),
    "the way out": lambda ec2, _, network: _route(ec2, network),
    "the role": lambda _, iam, __: iam.remove_role_from_instance_profile(InstanceProfileName=PROFILE, RoleName=PROFILE),
}


@pytest.mark.parametrize("lost", LOSSES)
def test_each_part_is_asked_for(lost: str, aws: AwsServer, context: AwsContext) -> None:
    network = made(aws, context)
    assert need_network(context) == network
    assert network_is_whole(context)
    LOSSES[lost](aws.client("ec2"), aws.client("iam"), network)
    assert not network_is_whole(context)


def test_an_existing_profile_is_not_looked_for(aws: AwsServer, context: AwsContext) -> None:
    found = made(aws, context)
    LOSSES["the role"](None, aws.client("iam"), need_network(context))
    academy = context.settings.model_copy(update={"existing_instance_profile": "LabInstanceProfile"})
    values = {**found.model_dump(exclude={"mlflow_role"}), "instance_profile": "LabInstanceProfile"}
    body = json.dumps({"outputs": {name: {"value": value} for name, value in values.items()}})
    context.state.put(context.names.state_key("persistent"), body.encode())
    assert network_is_whole(replace(context, settings=academy)), "its credentials may not ask IAM"


@pytest.mark.parametrize(
    "state", [None, "{", "[]", '{"outputs": {"dvc_bucket": {"value": "x"}}}', '{"outputs": {"subnets": 1}}']
)
def test_a_state_that_names_no_network(state: str | None, context: AwsContext) -> None:
    if state is not None:
        context.state.put(context.names.state_key("persistent"), state.encode())
    assert read_network(context) is None
    assert not network_is_whole(context)
    with pytest.raises(CloudError, match="run `wms cloud store`"):
        need_network(context)


@pytest.mark.attack(
    "a writer of Terraform's state", "another instance profile in the outputs", "names follow from the settings"
)
@pytest.mark.parametrize("lie", [{"instance_profile": "company-admin"}, {"mlflow_role": "company-admin"}])
def test_a_state_that_names_another_profile_counts_as_none(
    aws: AwsServer, context: AwsContext, lie: dict[str, str]
) -> None:
    found = made(aws, context)
    outputs = {name: {"value": value} for name, value in {**found.model_dump(), **lie}.items()}
    context.state.put(context.names.state_key("persistent"), json.dumps({"outputs": outputs}).encode())
    assert read_network(context) is None
    assert not network_is_whole(context)


@pytest.mark.attack(
    "a writer of Terraform's state", "a stranger's network or open group in the outputs", "the tags that AWS has"
)
@pytest.mark.parametrize("foreign", ["untagged", "another environment's", "not of the store"])
@pytest.mark.parametrize("part", ["subnet", "group"])
def test_an_instance_goes_into_no_other_network(aws: AwsServer, context: AwsContext, part: str, foreign: str) -> None:
    found, ec2 = made(aws, context), aws.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/24")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/27")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="open", Description="x", VpcId=vpc)["GroupId"]
    if foreign == "another environment's":
        tag(ec2, [subnet, group], environment="team")
    elif foreign == "not of the store":
        tag(ec2, [subnet, group], part="instance")
    lie = {"security_group_id": group} if part == "group" else {"subnets": {**found.subnets, "eu-central-1b": subnet}}
    outputs = {name: {"value": value} for name, value in {**found.model_dump(), **lie}.items()}
    context.state.put(context.names.state_key("persistent"), json.dumps({"outputs": outputs}).encode())
    with pytest.raises(CloudError, match=rf"{group if part == 'group' else subnet}.*run `wms cloud store`"):
        need_network(context)
    assert not network_is_whole(context)
