"""This environment's instances, found by their tags, as AWS describes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import jmespath

from wms_ops.storage.names import DEADLINE_TAG, LAUNCH_TAG, OWNER_TAG, read_time
from wms_ops.storage.trouble import aws_errors
from wms_ops.targets.aws.inventory import Raw, listed, tag_filters, tags_of
from wms_ops.targets.aws.kinds import EC2, ResourceKind

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
    existing = {"Name": "instance-state-name", "Values": list(_EXISTING)}
    with aws_errors("look for instances"):
        found = listed(ec2, EC2[ResourceKind.INSTANCE], [*tag_filters(environment), existing])
    return sorted(map(_instance, found), key=lambda instance: (instance.launched_at, instance.id))


def _instance(raw: Raw) -> Instance:
    tags = tags_of(raw)
    return Instance(
        id=raw["InstanceId"],
        state=raw["State"]["Name"],
        kind=raw.get("InstanceType", ""),
        address=raw.get("PublicIpAddress"),
        launch_id=tags.get(LAUNCH_TAG, ""),
        owner=tags.get(OWNER_TAG, ""),
        deadline=read_time(tags.get(DEADLINE_TAG, "")),
        launched_at=raw["LaunchTime"],
        # Also those of its interfaces: not every EC2 server lists the groups in both places.
        groups=tuple(dict.fromkeys(jmespath.search("[SecurityGroups, NetworkInterfaces[].Groups[]][].GroupId", raw))),
    )
