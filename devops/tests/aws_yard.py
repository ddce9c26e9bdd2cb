"""A clone's cloud at AWS for tests: moto as AWS, the real Terraform with its real provider, an address of nobody's."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aws_server import AwsServer
from terraform_tool import terraform_environ

from wms_ops.targets.aws.cloud import AwsCloud, open_aws

CALLER = "203.0.113.7"
_MINE: list[dict[str, Any]] = [{"Name": "tag-key", "Values": ["wms:environment"]}]


@dataclass
class Yard:
    """`cloud` makes the cloud as a command would: each has its own clients, all see the same AWS."""

    aws: AwsServer
    folder: Path
    more: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        """What a command is started with."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "GITHUB_", "WMS_"))}
        ours = {"WMS_CALLER_ADDRESS": CALLER, "WMS_S3_PATH_STYLE": "1", "WMS_HOLDER": "ana@laptop"}
        return {**plain, **self.aws.environ, **terraform_environ(self.folder / "terraform"), **ours, **self.more}

    def cloud(self, folder: str = "clone", step: Callable[[str], None] = lambda _: None, **more: str) -> AwsCloud:
        """A command's cloud; `more` are variables of its environment."""
        from dataclasses import replace

        cloud = open_aws(self.folder / folder, self.said.append, environ={**self.environ, **more})
        return replace(cloud, context=replace(cloud.context, step=step))

    def left(self) -> dict[str, int]:
        """What of a launch AWS has, asked directly: instances that aren't terminated, disks, open ports, and the rest.

        A network counts where a launch of the former version has made it, or where it is a second one.
        """
        ec2, iam = self.aws.client("ec2"), self.aws.client("iam")
        instances = [one for group in ec2.describe_instances()["Reservations"] for one in group["Instances"]]
        dead = {one["InstanceId"] for one in instances if one["State"]["Name"] == "terminated"}

        def _is_dead(interface: dict[str, Any]) -> bool:
            return interface.get("Attachment", {}).get("InstanceId") in dead

        roles = [one for one in iam.list_roles()["Roles"] if one["RoleName"].startswith("wms-")]
        found: dict[str, Any] = {
            "instances": [one for one in instances if one["State"]["Name"] != "terminated"],
            "volumes": ec2.describe_volumes()["Volumes"],
            "addresses": ec2.describe_addresses()["Addresses"],
            # moto keeps the interface of a terminated instance, which AWS deletes with it.
            "interfaces": [one for one in ec2.describe_network_interfaces()["NetworkInterfaces"] if not _is_dead(one)],
            "open ports": [
                rule
                for group in ec2.describe_security_groups(Filters=_MINE)["SecurityGroups"]
                for rule in group["IpPermissions"]
            ],
            "templates": ec2.describe_launch_templates()["LaunchTemplates"],
            "networks": [*self._networks("instance"), *self._networks("store")[1:]],
            "roles": [one for one in roles if not one["RoleName"].endswith(("-instance", "-mlflow", "-github"))],
            "profiles": iam.list_instance_profiles()["InstanceProfiles"][1:],
        }
        return {name: len(some) for name, some in found.items() if some}

    def lasting(self) -> dict[str, int]:
        """What lasts: networks, with their parts, and roles."""
        ec2, iam = self.aws.client("ec2"), self.aws.client("iam")
        ids = [vpc["VpcId"] for vpc in self._networks("store")]
        within = [{"Name": "vpc-id", "Values": ids}]
        roles = [one for one in iam.list_roles()["Roles"] if one["RoleName"].startswith("wms-")]
        return {
            "networks": len(ids),
            "subnets": len(ec2.describe_subnets(Filters=within)["Subnets"]) if ids else 0,
            "gateways": len(ec2.describe_internet_gateways(Filters=_MINE)["InternetGateways"]),
            "groups": len(ec2.describe_security_groups(Filters=_MINE)["SecurityGroups"]),
            "roles": len(roles),
            "profiles": len(iam.list_instance_profiles()["InstanceProfiles"]),
        }

    def _networks(self, part: str) -> list[Any]:
        filters = [*_MINE, {"Name": "tag:wms:part", "Values": [part]}]
        return list(self.aws.client("ec2").describe_vpcs(Filters=filters)["Vpcs"])
