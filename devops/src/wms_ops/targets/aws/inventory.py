"""The resources of an environment at AWS, found by their tags: its instances, and all that must go with them.

A resource counts if it carries this environment's tag and `wms:part` = "instance". Without any of this project's tags a
resource counts only if AWS says that it belongs to a tagged resource: volumes that AWS itself deletes with a tagged
instance, its spot request, and the environment's interfaces and open ports, which the lasting network shows. Resources
with another environment's tag or a store's tag never count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import jmespath

from wms_ops.cost.sessions import NAME
from wms_ops.storage.codes import Kind, code_of, kind_of_code, unless
from wms_ops.storage.names import (
    DEADLINE_TAG,
    ENVIRONMENT_TAG,
    INSTANCE_PART,
    LAUNCH_TAG,
    OWNER_TAG,
    PART_TAG,
    STORE_PART,
    read_time,
)
from wms_ops.storage.trouble import aws_errors
from wms_ops.targets.aws.kinds import COSTLY, EC2, IAM, LASTING, ORDER, Handling, ResourceKind

_NAME_PREFIX: Final = "wms-"
"""IAM can't search by tags: roles and profiles are found by the beginning of their names, then by their tags."""

_OURS: Final = "wms:"
_SPOT_ID: Final = "SpotInstanceRequestId"
_TAGGED: Final = (ResourceKind.SPOT, ResourceKind.ADDRESS, ResourceKind.VOLUME, ResourceKind.INTERFACE)
# A listing of IAM holds no tags.
_DESCRIBED: Final = {
    ResourceKind.PROFILE: ("get_instance_profile", "InstanceProfile"),
    ResourceKind.ROLE: ("get_role", "Role"),
}
_TIMES: Final = ("CreateTime", "LaunchTime", "CreateDate")

Raw = dict[str, Any]
"""A resource as AWS describes it."""


class Clients(Protocol):
    """boto3's clients; `Aws` has them."""

    @property
    def ec2(self) -> Any: ...

    @property
    def iam(self) -> Any: ...


@dataclass(frozen=True)
class Resource:
    """`deadline` is None without a readable tag, `created` None if neither AWS nor the launch's name tells the time."""

    kind: ResourceKind
    id: str
    environment: str
    parent: str = ""
    launch_id: str = ""
    owner: str = ""
    deadline: datetime | None = None
    created: datetime | None = None

    @property
    def costs(self) -> bool:
        """Whether AWS bills the resource."""
        return self.kind in COSTLY

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


def find(
    clients: Clients, *, environment: str | None, show: Callable[[str], None] = lambda _: None
) -> tuple[Resource, ...]:
    """All resources of an environment's launches, or of all environments' (None), in the order of deletion.

    If the credentials may not list IAM, as in some AWS Academy accounts, `show` hears so. Raises the errors of
    `aws_errors`.
    """
    ec2 = clients.ec2
    with aws_errors(f"look for what {f'the environment {environment}' if environment else 'all environments'} left"):
        instances = listed(ec2, EC2[ResourceKind.INSTANCE], tag_filters(environment))
        found = [
            # Terminated instances, which AWS lists for an hour, aren't left; their volumes and interfaces may be.
            *(_resource(ResourceKind.INSTANCE, raw) for raw in instances if raw["State"]["Name"] != "terminated"),
            *_tagged(ec2, _TAGGED, tag_filters(environment)),
            *_children_of_instances(ec2, instances),
            *_in_networks(ec2, environment, {instance["InstanceId"] for instance in instances}),
        ]
    return _ordered([*found, *find_lasting(clients, environment, INSTANCE_PART, show)])


def find_lasting(
    clients: Clients, environment: str | None, part: str, show: Callable[[str], None] = lambda _: None
) -> tuple[Resource, ...]:
    """The networks and roles with this part's tag, in the order of deletion.

    Those with the part "instance" are of the former version, which made them for each launch. Raises as `find` does.
    """
    with aws_errors("look for networks and roles"):
        found = _tagged(clients.ec2, LASTING, tag_filters(environment, part))
        return _ordered([*found, *_identities(clients.iam, environment, part, show)])


def _tagged(ec2: Any, kinds: Iterable[ResourceKind], filters: Sequence[Raw]) -> Iterator[Resource]:
    for kind in kinds:
        yield from (_resource(kind, raw) for raw in listed(ec2, EC2[kind], filters))


def _ordered(found: Iterable[Resource]) -> tuple[Resource, ...]:
    unique = {(each.kind, each.id): each for each in found}
    return tuple(sorted(unique.values(), key=lambda each: (ORDER.index(each.kind), each.id)))


def listed(client: Any, how: Handling, filters: Sequence[Raw] | None = None) -> list[Raw]:
    """The resources of a kind that match all `filters`, from all pages of the answer."""
    options = {} if filters is None else {"Filters": filters}
    if client.can_paginate(how.ask):
        pages = client.get_paginator(how.ask).paginate(**options)
    else:
        pages = [getattr(client, how.ask)(**options)]
    return [raw for page in pages for raw in jmespath.search(how.items, page) or []]


def tag_filters(environment: str | None, *parts: str) -> list[Raw]:
    """The filters for an environment's resources, or all environments' (None), by default those of launches."""
    part = {"Name": f"tag:{PART_TAG}", "Values": [*parts] or [INSTANCE_PART]}
    if environment is None:
        return [{"Name": "tag-key", "Values": [ENVIRONMENT_TAG]}, part]
    return [{"Name": f"tag:{ENVIRONMENT_TAG}", "Values": [environment]}, part]


def tags_of(raw: Raw) -> dict[str, str]:
    """A resource's tags."""
    return {tag["Key"]: tag["Value"] for tag in raw.get("Tags") or raw.get("TagSet") or []}


def _launch_of(tags: dict[str, str]) -> str:
    """The launch that tags name; empty for a name that no start has written: a launch is a part of files' names."""
    found = tags.get(LAUNCH_TAG, "")
    return found if re.fullmatch(NAME, found) else ""


def _resource(kind: ResourceKind, raw: Raw, owner: Raw | None = None) -> Resource:
    """A resource as its tags describe it, or those of the resource to which it belongs."""
    tags, how = tags_of(owner or raw), (EC2 | IAM)[kind]
    launch = _launch_of(tags)
    return Resource(
        kind=kind,
        id=raw[how.key],
        environment=tags.get(ENVIRONMENT_TAG, ""),
        parent=raw[how.parent] if how.parent else "",
        launch_id=launch,
        owner=tags.get(OWNER_TAG, ""),
        deadline=read_time(tags.get(DEADLINE_TAG, "")),
        created=next((raw[name] for name in _TIMES if raw.get(name)), None) or _launched(launch),
    )


def _children_of_instances(ec2: Any, instances: list[Raw]) -> Iterator[Resource]:
    """Volumes that AWS deletes with their instance, and spot requests: listed, so that the proof covers them."""
    for instance in instances:
        volumes = jmespath.search("BlockDeviceMappings[?Ebs.DeleteOnTermination].Ebs.VolumeId", instance)
        request = [instance[_SPOT_ID]] if instance.get(_SPOT_ID) else []
        children = (ResourceKind.VOLUME, "volume-id", volumes), (ResourceKind.SPOT, "spot-instance-request-id", request)
        for kind, name, ids in children:
            raws = listed(ec2, EC2[kind], [{"Name": name, "Values": ids}]) if ids else []
            yield from (_resource(kind, raw, instance) for raw in raws if _is_untagged(raw))


def _in_networks(ec2: Any, environment: str | None, instances: set[str]) -> Iterator[Resource]:
    """Interfaces and ingress rules in the environment's networks, the lasting one and the former version's."""
    filters = tag_filters(environment, INSTANCE_PART, STORE_PART)
    for vpc in listed(ec2, EC2[ResourceKind.VPC], filters):
        raws = listed(ec2, EC2[ResourceKind.INTERFACE], [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}])
        yield from (
            _resource(ResourceKind.INTERFACE, raw, vpc)
            for raw in raws
            if _is_untagged(raw) and not _is_foreign(raw, instances)
        )
    for group in listed(ec2, EC2[ResourceKind.GROUP], filters):
        raws = listed(ec2, EC2[ResourceKind.RULE], [{"Name": "group-id", "Values": [group["GroupId"]]}])
        yield from (_resource(ResourceKind.RULE, raw, group) for raw in raws)


def _identities(iam: Any, environment: str | None, part: str, show: Callable[[str], None]) -> Iterator[Resource]:
    from botocore.exceptions import ClientError

    try:
        for kind, how in IAM.items():
            for raw in listed(iam, how):
                if raw[how.key].startswith(f"{_NAME_PREFIX}{environment or ''}"):
                    call, member = _DESCRIBED[kind]
                    answer = unless({"NoSuchEntity"}, getattr(iam, call), **{how.key: raw[how.key]})
                    tags = tags_of(answer[member]) if answer else {}
                    owned = tags.get(ENVIRONMENT_TAG) if tags.get(PART_TAG) == part else None
                    if owned and environment in (None, owned):
                        yield _resource(kind, answer[member])
    except ClientError as error:
        if kind_of_code(code_of(error) or "") is not Kind.NOT_ALLOWED:
            raise
        # Credentials without this right can't make roles either, and a role costs nothing.
        show("These credentials may not list roles and instance profiles, so none was looked for.")


def _is_untagged(raw: Raw) -> bool:
    return not any(key.startswith(_OURS) for key in tags_of(raw))


def _is_foreign(raw: Raw, instances: set[str]) -> bool:
    """Whether an interface belongs to another environment's instance, or to a service of AWS."""
    holder = raw.get("Attachment", {}).get("InstanceId")
    return bool(raw.get("RequesterManaged")) or (holder is not None and holder not in instances)


def _launched(launch_id: str) -> datetime | None:
    """When a launch began, by its name.

    >>> _launched("20261125-153000-ab12cd").isoformat()
    '2026-11-25T15:30:00+00:00'
    """
    try:
        return datetime.strptime(launch_id[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


_ALIVE: Final = ("pending", "running")
_EXISTING: Final = (*_ALIVE, "stopping", "stopped", "shutting-down")


@dataclass(frozen=True)
class Instance:
    """`deadline` is None if the tag can't be read; `groups` are the ids of the instance's security groups."""

    id: str
    environment: str
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


def find_instances(ec2: Any, environment: str | None) -> list[Instance]:
    """An environment's instances that aren't terminated, or all environments' (None), the oldest first.

    Raises the errors of `aws_errors`.
    """
    existing = {"Name": "instance-state-name", "Values": list(_EXISTING)}
    with aws_errors("look for instances"):
        found = listed(ec2, EC2[ResourceKind.INSTANCE], [*tag_filters(environment), existing])
    return sorted(map(_instance, found), key=lambda instance: (instance.launched_at, instance.id))


def _instance(raw: Raw) -> Instance:
    tags = tags_of(raw)
    return Instance(
        id=raw["InstanceId"],
        environment=tags.get(ENVIRONMENT_TAG, ""),
        state=raw["State"]["Name"],
        kind=raw.get("InstanceType", ""),
        address=raw.get("PublicIpAddress"),
        launch_id=_launch_of(tags),
        owner=tags.get(OWNER_TAG, ""),
        deadline=read_time(tags.get(DEADLINE_TAG, "")),
        launched_at=raw["LaunchTime"],
        # Also those of its interfaces: not every EC2 server lists the groups in both places.
        groups=tuple(dict.fromkeys(jmespath.search("[SecurityGroups, NetworkInterfaces[].Groups[]][].GroupId", raw))),
    )
