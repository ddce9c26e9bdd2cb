"""This environment's instances, found by their tags, as AWS describes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from wms_ops.storage.names import (
    DEADLINE_TAG,
    ENVIRONMENT_TAG,
    INSTANCE_PART,
    LAUNCH_TAG,
    OWNER_TAG,
    PART_TAG,
    read_time,
)
from wms_ops.storage.trouble import aws_errors

_ALIVE: Final = ("pending", "running")
_EXISTING: Final = (*_ALIVE, "stopping", "stopped", "shutting-down")


@dataclass(frozen=True)
class Instance:
    """`deadline` is None if the tag can't be read; `groups` are the ids of the instance's security groups."""

    id: str
    state: str
    kind: str
    address: str | None
    launch_id: str
    owner: str
    deadline: datetime | None
    launched_at: datetime
    groups: tuple[str, ...]

    @property
    def is_alive(self) -> bool:
        """Whether the instance runs or is about to."""
        return self.state in _ALIVE


def find_instances(ec2: Any, environment: str) -> list[Instance]:
    """All instances that aren't terminated, the oldest first. Raises the errors of `aws_errors`."""
    filters = [
        {"Name": f"tag:{ENVIRONMENT_TAG}", "Values": [environment]},
        {"Name": f"tag:{PART_TAG}", "Values": [INSTANCE_PART]},
        {"Name": "instance-state-name", "Values": list(_EXISTING)},
    ]
    with aws_errors("look for instances"):
        pages = ec2.get_paginator("describe_instances").paginate(Filters=filters)
        found = [raw for page in pages for group in page["Reservations"] for raw in group["Instances"]]
    return sorted(map(_instance, found), key=lambda instance: (instance.launched_at, instance.id))


def _instance(raw: dict[str, Any]) -> Instance:
    tags = {tag["Key"]: tag["Value"] for tag in raw.get("Tags", [])}
    return Instance(
        id=raw["InstanceId"],
        state=raw["State"]["Name"],
        kind=raw.get("InstanceType", ""),
        address=raw.get("PublicIpAddress"),
        launch_id=tags.get(LAUNCH_TAG, ""),
        owner=tags.get(OWNER_TAG, ""),
        deadline=read_time(tags.get(DEADLINE_TAG, "")),
        launched_at=raw["LaunchTime"],
        groups=tuple(dict.fromkeys(group["GroupId"] for group in _groups(raw))),
    )


def _groups(raw: dict[str, Any]) -> Iterator[dict[str, str]]:
    """The security groups of an instance, also from its interfaces: not every EC2 server lists them in both."""
    yield from raw.get("SecurityGroups", [])
    for interface in raw.get("NetworkInterfaces", []):
        yield from interface.get("Groups", [])
