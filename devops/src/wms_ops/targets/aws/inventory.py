"""The resources of an environment at AWS that must go: found by their tags, not by any record of their creation.

A resource counts if it carries this environment's tag and `wms:part` = "instance". Without any of this project's tags a
resource counts only if AWS says that it belongs to a tagged resource: parts of a tagged VPC, and interfaces and volumes
that AWS itself deletes with a tagged instance. Resources with another environment's tag or a store's tag never count.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from wms_ops.storage.codes import Kind, code_of, kind_of_code, unless
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

NAME_PREFIX: Final = "wms-"
"""IAM can't search by tags: roles and profiles are found by the beginning of their names, then by their tags."""

_OURS: Final = "wms:"
_OPEN: Final = ["open", "active", "disabled"]

Raw = Mapping[str, Any]


class ResourceKind(enum.StrEnum):
    """The order of deletion: first resources that cost money, then those that others need, then the rest."""

    SPOT = "spot request"  # before the instance: an open request would start another
    INSTANCE = "instance"
    ADDRESS = "elastic address"
    VOLUME = "volume"
    TEMPLATE = "launch template"
    INTERFACE = "network interface"
    GATEWAY = "internet gateway"
    SUBNET = "subnet"
    ROUTES = "route table"
    GROUP = "security group"
    VPC = "VPC"
    PROFILE = "instance profile"
    ROLE = "role"


COSTLY: Final = frozenset({ResourceKind.SPOT, ResourceKind.INSTANCE, ResourceKind.ADDRESS, ResourceKind.VOLUME})


@dataclass(frozen=True)
class Resource:
    """`deadline` is None without a readable tag, `created` None if neither AWS nor the launch's name tells the time."""

    kind: ResourceKind
    id: str
    environment: str
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
    ec2: Any, iam: Any, *, environment: str | None, show: Callable[[str], None] = lambda _: None
) -> tuple[Resource, ...]:
    """All ephemeral resources of an environment, or of all (None), in the order of deletion.

    If the credentials may not list IAM, as in some AWS Academy accounts, `show` hears so. Raises the errors of
    `aws_errors`.
    """
    with aws_errors(f"look for what {f'the environment {environment}' if environment else 'all environments'} left"):
        vpcs = _ask(ec2, "describe_vpcs", "Vpcs", _tagged(environment))
        instances = _instances(ec2, _tagged(environment))
        found = [
            *_resources(ResourceKind.VPC, "VpcId", vpcs),
            *_resources(ResourceKind.INSTANCE, "InstanceId", filter(_exists, instances), "LaunchTime"),
            *_spot_requests(ec2, environment),
            *_resources(ResourceKind.ADDRESS, "AllocationId", _addresses(ec2, environment)),
            *_resources(
                ResourceKind.VOLUME, "VolumeId", _ask(ec2, "describe_volumes", "Volumes", _tagged(environment))
            ),
            *_resources(
                ResourceKind.TEMPLATE,
                "LaunchTemplateId",
                _ask(ec2, "describe_launch_templates", "LaunchTemplates", _tagged(environment)),
            ),
            *_children_of_instances(ec2, instances),
            *_in_vpcs(ec2, environment, vpcs, {instance["InstanceId"] for instance in instances}),
            *_identities(iam, environment, show),
        ]
    order = list(ResourceKind)
    return tuple(
        sorted(
            {(each.kind, each.id): each for each in found}.values(), key=lambda each: (order.index(each.kind), each.id)
        )
    )


def _resources(
    kind: ResourceKind, key: str, raws: Iterable[Raw], since: str = "CreateTime", parent: Raw | None = None
) -> list[Resource]:
    return [_resource(kind, raw[key], _tags(raw), raw.get(since), parent) for raw in raws]


def _resource(
    kind: ResourceKind, id_: str, tags: Mapping[str, str], created: datetime | None, parent: Raw | None = None
) -> Resource:
    """A resource as its tags describe it; without any of this project's tags, as its parent's tags do."""
    if not _has_ours(tags) and parent is not None:
        tags = _tags(parent)
    launch = tags.get(LAUNCH_TAG, "")
    return Resource(
        kind=kind,
        id=id_,
        environment=tags.get(ENVIRONMENT_TAG, ""),
        launch_id=launch,
        owner=tags.get(OWNER_TAG, ""),
        deadline=read_time(tags.get(DEADLINE_TAG, "")),
        created=created or _launched(launch),
    )


def _instances(ec2: Any, filters: list[Raw]) -> list[Raw]:
    """Instances, also terminated ones, which AWS lists for an hour: their volumes and interfaces may still exist."""
    groups = _ask(ec2, "describe_instances", "Reservations", filters)
    return [instance for group in groups for instance in group["Instances"]]


def _spot_requests(ec2: Any, environment: str | None) -> list[Resource]:
    filters = [*_tagged(environment), {"Name": "state", "Values": _OPEN}]
    found = _ask(ec2, "describe_spot_instance_requests", "SpotInstanceRequests", filters)
    return _resources(ResourceKind.SPOT, "SpotInstanceRequestId", found)


def _addresses(ec2: Any, environment: str | None) -> list[Raw]:
    return list(ec2.describe_addresses(Filters=_tagged(environment))["Addresses"])  # the only call without pages


def _children_of_instances(ec2: Any, instances: list[Raw]) -> list[Resource]:
    """Untagged volumes and interfaces that AWS deletes with their instance: listed, so that the proof covers them."""
    found = []
    for instance in instances:
        disks = [mapping["Ebs"] for mapping in instance.get("BlockDeviceMappings", []) if "Ebs" in mapping]
        volumes = [disk["VolumeId"] for disk in disks if disk.get("DeleteOnTermination")]
        if volumes:
            raws = _ask(ec2, "describe_volumes", "Volumes", [{"Name": "volume-id", "Values": volumes}])
            found += _resources(ResourceKind.VOLUME, "VolumeId", filter(_is_untagged, raws), parent=instance)
        attached = [{"Name": "attachment.instance-id", "Values": [instance["InstanceId"]]}]
        raws = [
            interface
            for interface in _ask(ec2, "describe_network_interfaces", "NetworkInterfaces", attached)
            if interface.get("Attachment", {}).get("DeleteOnTermination") and _is_untagged(interface)
        ]
        found += _resources(ResourceKind.INTERFACE, "NetworkInterfaceId", raws, parent=instance)
    return found


def _in_vpcs(ec2: Any, environment: str | None, vpcs: list[Raw], instances: set[str]) -> list[Resource]:
    """Tagged network resources, and untagged network resources in a tagged VPC."""
    parts: list[tuple[ResourceKind, str, str, str, str, Callable[[Raw], bool]]] = [
        (ResourceKind.INTERFACE, "describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId", *(
            "vpc-id", _any)),
        (ResourceKind.SUBNET, "describe_subnets", "Subnets", "SubnetId", "vpc-id", _any),
        (ResourceKind.ROUTES, "describe_route_tables", "RouteTables", "RouteTableId", "vpc-id", _is_no_main_table),
        (ResourceKind.GROUP, "describe_security_groups", "SecurityGroups", "GroupId", "vpc-id", _is_no_default_group),
        (ResourceKind.GATEWAY, "describe_internet_gateways", "InternetGateways", "InternetGatewayId", *(
            "attachment.vpc-id", _any)),
    ]  # fmt: skip
    found = []
    for kind, call, plural, key, where, counts in parts:
        found += _resources(kind, key, filter(counts, _ask(ec2, call, plural, _tagged(environment))))
        for vpc in vpcs:
            raws = _ask(ec2, call, plural, [{"Name": where, "Values": [vpc["VpcId"]]}])
            children = [raw for raw in raws if counts(raw) and _is_untagged(raw) and not _is_foreign(raw, instances)]
            found += _resources(kind, key, children, parent=vpc)
    return found


def _identities(iam: Any, environment: str | None, show: Callable[[str], None]) -> list[Resource]:
    from botocore.exceptions import ClientError

    kinds = [
        (ResourceKind.PROFILE, "list_instance_profiles", "InstanceProfiles", "InstanceProfileName"),
        (ResourceKind.ROLE, "list_roles", "Roles", "RoleName"),
    ]
    found = []
    try:
        for kind, call, plural, key in kinds:
            for raw in _ask(iam, call, plural):
                name = str(raw[key])
                if name.startswith(f"{NAME_PREFIX}{environment or ''}"):
                    tags = tags_of_identity(iam, kind, name)
                    if _is_ours(tags, environment):
                        found.append(_resource(kind, name, tags, raw.get("CreateDate")))
    except ClientError as error:
        if kind_of_code(code_of(error) or "") is not Kind.NOT_ALLOWED:
            raise
        # Credentials without this right can't make roles either, and a role costs nothing.
        show("These credentials may not list roles and instance profiles, so none was looked for.")
    return found


def tags_of_identity(iam: Any, kind: ResourceKind, name: str) -> dict[str, str]:
    """The tags of a role or an instance profile; empty if the role or profile is gone meanwhile."""
    if kind is ResourceKind.ROLE:
        found = unless({"NoSuchEntity"}, lambda: {"Tags": _ask(iam, "list_role_tags", "Tags", RoleName=name)})
    else:
        found = unless({"NoSuchEntity"}, lambda: iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"])
    return _tags(found or {})


def _ask(client: Any, call: str, plural: str, filters: Sequence[Raw] | None = None, **options: Any) -> list[Raw]:
    """All pages of an answer."""
    if filters is not None:
        options["Filters"] = filters
    return [one for page in client.get_paginator(call).paginate(**options) for one in page.get(plural, [])]


def _tagged(environment: str | None) -> list[Raw]:
    part = {"Name": f"tag:{PART_TAG}", "Values": [INSTANCE_PART]}
    if environment is None:
        return [{"Name": "tag-key", "Values": [ENVIRONMENT_TAG]}, part]
    return [{"Name": f"tag:{ENVIRONMENT_TAG}", "Values": [environment]}, part]


def _is_ours(tags: Mapping[str, str], environment: str | None) -> bool:
    if tags.get(PART_TAG) != INSTANCE_PART or not tags.get(ENVIRONMENT_TAG):
        return False
    return environment is None or tags[ENVIRONMENT_TAG] == environment


def _exists(instance: Raw) -> bool:
    return bool(instance["State"]["Name"] != "terminated")


def _any(_: Raw) -> bool:
    return True


def _is_no_main_table(raw: Raw) -> bool:
    """Whether a route table can be deleted: a VPC's main table and default security group go with the VPC."""
    return not any(one.get("Main") for one in raw.get("Associations", []))


def _is_no_default_group(raw: Raw) -> bool:
    return raw.get("GroupName") != "default"


def _is_untagged(raw: Raw) -> bool:
    return not _has_ours(_tags(raw))


def _is_foreign(raw: Raw, instances: set[str]) -> bool:
    """Whether an interface belongs to another environment's instance, or to a service of AWS."""
    holder = raw.get("Attachment", {}).get("InstanceId")
    return bool(raw.get("RequesterManaged")) or (holder is not None and holder not in instances)


def _has_ours(tags: Mapping[str, str]) -> bool:
    return any(key.startswith(_OURS) for key in tags)


def _tags(raw: Raw) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in raw.get("Tags") or raw.get("TagSet") or []}


def _launched(launch_id: str) -> datetime | None:
    """When a launch began, by its name.

    >>> _launched("20261125-153000-ab12cd").isoformat()
    '2026-11-25T15:30:00+00:00'
    """
    try:
        return datetime.strptime(launch_id[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
