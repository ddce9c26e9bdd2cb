"""The lasting network and the instance's profile for tests, as the persistent root makes them."""

from __future__ import annotations

from typing import Any, Final

from aws_server import AwsServer

PROFILE: Final = "wms-main-eu-central-1-instance"


def tag(ec2: Any, ids: list[str], environment: str = "main", part: str = "store") -> None:
    tags = {"wms:environment": environment, "wms:part": part}
    ec2.create_tags(Resources=ids, Tags=[{"Key": key, "Value": value} for key, value in tags.items()])


def make_network(aws: AwsServer) -> dict[str, Any]:
    """Make them; returns the root's outputs that a launch reads."""
    ec2, iam = aws.client("ec2"), aws.client("iam")
    vpc = ec2.create_vpc(CidrBlock="10.73.0.0/24")["Vpc"]["VpcId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    (table,) = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"]
    way = {"RouteTableId": table["RouteTableId"], "DestinationCidrBlock": "0.0.0.0/0"}
    ec2.create_route(**way, GatewayId=gateway)
    subnets = {
        f"eu-central-1{zone}": ec2.create_subnet(VpcId=vpc, CidrBlock=block)["Subnet"]["SubnetId"]
        for zone, block in (("a", "10.73.0.0/27"), ("b", "10.73.0.32/27"))
    }
    group = ec2.create_security_group(GroupName="wms-main", Description="x", VpcId=vpc)["GroupId"]
    iam.create_role(RoleName=PROFILE, AssumeRolePolicyDocument="{}")
    iam.create_instance_profile(InstanceProfileName=PROFILE)
    iam.add_role_to_instance_profile(InstanceProfileName=PROFILE, RoleName=PROFILE)
    tag(ec2, [*subnets.values(), group])
    return {
        "subnets": subnets,
        "security_group_id": group,
        "instance_profile": PROFILE,
        "mlflow_role": PROFILE.replace("instance", "mlflow"),
    }
