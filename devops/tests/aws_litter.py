"""What an instance of an environment consists of at AWS, made with boto3 as Terraform would make it."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from aws_server import ACCOUNT, REGION, AwsServer

LAUNCH = "20261125-153000-ab12cd"
DEADLINE = "2026-11-25T18:00:00+00:00"


@dataclass(frozen=True)
class Litter:
    """Ids of what was made."""

    instance: str
    vpc: str
    subnet: str
    group: str
    address: str
    volume: str
    interface: str
    root_volume: str
    primary_interface: str
    role: str


@dataclass(frozen=True)
class Clients:
    """What a sweep wants."""

    ec2: Any
    iam: Any


def clients_of(aws: AwsServer) -> Clients:
    """Clients of a server, made once: that takes longer than their requests."""
    return _clients(aws.endpoint)


@functools.cache
def _clients(endpoint: str) -> Clients:
    keys = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "x", "region_name": REGION}
    ec2, iam = (boto3.client(name, endpoint_url=endpoint, **keys) for name in ("ec2", "iam"))
    return Clients(ec2, iam)


def tags_of(environment: str, deadline: str = DEADLINE, launch: str = LAUNCH) -> list[dict[str, str]]:
    """The tags of everything ephemeral."""
    tags = {
        "wms:environment": environment,
        "wms:part": "instance",
        "wms:launch": launch,
        "wms:deadline": deadline,
        "wms:owner": "ana@laptop",
        "Name": f"wms-{environment}",
    }
    return tagged(tags)


def tagged(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as the API wants them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def specification(kind: str, tags: list[dict[str, str]]) -> list[Any]:
    """Tags as they're given where something is made."""
    return [{"ResourceType": kind, "Tags": tags}] if tags else []


def make(aws: AwsServer, name: str, tags: list[dict[str, str]], *, doors: bool = True) -> Litter:
    """A VPC with an instance and all that belongs to it, each with these tags; names begin with `name`.

    The former version made all of it for each launch. With `doors` its two groups let each other in.
    """
    clients = clients_of(aws)
    ec2, iam = clients.ec2, clients.iam
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=specification("vpc", tags))["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(
        VpcId=vpc, CidrBlock="10.0.1.0/24", TagSpecifications=specification("subnet", tags)
    )["Subnet"]["SubnetId"]  # fmt: skip
    _routes(ec2, vpc, subnet, tags)
    group, other = (
        ec2.create_security_group(
            GroupName=f"{name}-{part}",
            Description="x",
            VpcId=vpc,
            TagSpecifications=specification("security-group", tags),
        )["GroupId"]
        for part in ("a", "b")
    )
    for one, another in ((group, other), (other, group)) if doors else ():
        pair = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 9, "UserIdGroupPairs": [{"GroupId": another}]}
        ec2.authorize_security_group_ingress(GroupId=one, IpPermissions=[pair])
    _identity(iam, name, tags)
    ec2.create_launch_template(
        LaunchTemplateName=name,
        LaunchTemplateData={"InstanceType": "t3.large"},
        TagSpecifications=specification("launch-template", tags),
    )
    instance = ec2.run_instances(
        ImageId=aws.image, MinCount=1, MaxCount=1, InstanceType="t3.large", SubnetId=subnet, SecurityGroupIds=[group],
        TagSpecifications=specification("instance", tags),
    )["Instances"][0]  # fmt: skip
    interface = ec2.create_network_interface(
        SubnetId=subnet, TagSpecifications=specification("network-interface", tags)
    )["NetworkInterface"]["NetworkInterfaceId"]  # fmt: skip
    address = ec2.allocate_address(Domain="vpc", TagSpecifications=specification("elastic-ip", tags))["AllocationId"]
    ec2.associate_address(AllocationId=address, InstanceId=instance["InstanceId"])
    zone = instance["Placement"]["AvailabilityZone"]
    volume = ec2.create_volume(AvailabilityZone=zone, Size=9, TagSpecifications=specification("volume", tags))[
        "VolumeId"
    ]
    ec2.attach_volume(VolumeId=volume, InstanceId=instance["InstanceId"], Device="/dev/sdf")
    described = ec2.describe_instances(InstanceIds=[instance["InstanceId"]])["Reservations"][0]["Instances"][0]
    return Litter(
        instance["InstanceId"], vpc, subnet, group, address, volume, interface,
        root_volume=described["BlockDeviceMappings"][0]["Ebs"]["VolumeId"],
        primary_interface=described["NetworkInterfaces"][0]["NetworkInterfaceId"],
        role=f"{name}-instance",
    )  # fmt: skip


def _routes(ec2: Any, vpc: str, subnet: str, tags: list[dict[str, str]]) -> None:
    table = ec2.create_route_table(VpcId=vpc, TagSpecifications=specification("route-table", tags))
    ec2.associate_route_table(RouteTableId=table["RouteTable"]["RouteTableId"], SubnetId=subnet)
    gateway = ec2.create_internet_gateway(TagSpecifications=specification("internet-gateway", tags))
    gateway_id = gateway["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway_id, VpcId=vpc)
    ec2.create_route(
        RouteTableId=table["RouteTable"]["RouteTableId"], DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway_id
    )


def _identity(iam: Any, name: str, tags: list[dict[str, str]]) -> None:
    role = f"{name}-instance"
    anyone = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}
    trust = {"Version": "2012-10-17", "Statement": [anyone]}
    iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(trust), Tags=tags)
    iam.put_role_policy(RoleName=role, PolicyName="inline", PolicyDocument=json.dumps(trust))
    with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_policy(PolicyName="an-administrators", PolicyDocument=json.dumps(trust))
    iam.attach_role_policy(RoleName=role, PolicyArn=f"arn:aws:iam::{ACCOUNT}:policy/an-administrators")
    iam.create_instance_profile(InstanceProfileName=role, Tags=tags)
    iam.add_role_to_instance_profile(InstanceProfileName=role, RoleName=role)


def snapshot(aws: AwsServer) -> dict[str, Any]:
    """Everything of the kinds that a sweep deletes, with tags and states, whoever it belongs to."""
    clients = clients_of(aws)
    ec2, iam = clients.ec2, clients.iam
    found: dict[str, Any] = {
        plural: sorted(getattr(ec2, call)()[plural], key=lambda one: str(one.get(key)))
        for call, plural, key in (
            ("describe_addresses", "Addresses", "AllocationId"),
            ("describe_volumes", "Volumes", "VolumeId"),
            ("describe_launch_templates", "LaunchTemplates", "LaunchTemplateId"),
            ("describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId"),
            ("describe_security_groups", "SecurityGroups", "GroupId"),
            ("describe_subnets", "Subnets", "SubnetId"),
            ("describe_route_tables", "RouteTables", "RouteTableId"),
            ("describe_internet_gateways", "InternetGateways", "InternetGatewayId"),
            ("describe_vpcs", "Vpcs", "VpcId"),
        )
    }
    groups = ec2.describe_instances()["Reservations"]
    found["instances"] = [
        (one["InstanceId"], one["State"]["Name"])
        for group in groups
        for one in group["Instances"]
        if one["State"]["Name"] != "terminated"
    ]
    found["roles"] = sorted(one["RoleName"] for one in iam.list_roles()["Roles"])
    found["profiles"] = sorted(
        (one["InstanceProfileName"], len(one["Roles"])) for one in iam.list_instance_profiles()["InstanceProfiles"]
    )
    return found
