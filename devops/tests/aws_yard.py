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
        """What of an instance AWS has, asked directly: instances that aren't terminated, volumes, and all the rest."""
        ec2, iam = self.aws.client("ec2"), self.aws.client("iam")
        mine = [{"Name": "tag-key", "Values": ["wms:environment"]}]
        instances = [one for group in ec2.describe_instances()["Reservations"] for one in group["Instances"]]
        dead = {one["InstanceId"] for one in instances if one["State"]["Name"] == "terminated"}

        def _is_dead(interface: dict[str, Any]) -> bool:
            return interface.get("Attachment", {}).get("InstanceId") in dead

        found: dict[str, Any] = {
            "instances": [one for one in instances if one["State"]["Name"] != "terminated"],
            "volumes": ec2.describe_volumes()["Volumes"],
            "addresses": ec2.describe_addresses()["Addresses"],
            # moto keeps the interface of a terminated instance, which AWS deletes with it.
            "interfaces": [one for one in ec2.describe_network_interfaces()["NetworkInterfaces"] if not _is_dead(one)],
            "networks": ec2.describe_vpcs(Filters=mine)["Vpcs"],
            "roles": [one for one in iam.list_roles()["Roles"] if one["RoleName"].startswith("wms-")],
            "profiles": iam.list_instance_profiles()["InstanceProfiles"],
        }
        return {name: len(some) for name, some in found.items() if some}
