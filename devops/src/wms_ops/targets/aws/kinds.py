"""The kinds of resources that belong to an instance: how AWS lists and deletes each, and what has to be untied before.

Inventory and sweep follow these tables, so another kind of resource is one more entry. Paths in answers are JMESPath.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final


class ResourceKind(enum.StrEnum):
    """The order of deletion: first resources that cost money, then those that others need, then the rest."""

    SPOT = "spot request"  # before the instance: an open request would start another
    INSTANCE = "instance"
    ADDRESS = "elastic address"
    VOLUME = "volume"
    INTERFACE = "network interface"
    RULE = "ingress rule"
    TEMPLATE = "launch template"
    GATEWAY = "internet gateway"
    SUBNET = "subnet"
    ROUTES = "route table"
    GROUP = "security group"
    VPC = "VPC"
    PROFILE = "instance profile"
    ROLE = "role"


ORDER: Final = tuple(ResourceKind)
COSTLY: Final = frozenset({ResourceKind.SPOT, ResourceKind.INSTANCE, ResourceKind.ADDRESS, ResourceKind.VOLUME})


@dataclass(frozen=True)
class Handling:
    """The requests for one kind: `ask` lists resources, whose place in the answer is `items` and whose id is `key`.

    `many` says that `delete` takes a list of ids; `done` is its result. `parent` names the argument of `delete` for the
    id of the resource's parent.
    """

    ask: str
    items: str
    key: str
    delete: str
    done: str = "deleted"
    many: bool = False
    parent: str = ""


@dataclass(frozen=True)
class Tie:
    """A bond that AWS wants undone before a resource's deletion.

    `found` is the place of the bonds in the answer about the resource to `ask`, by default that of its kind. `cut`
    takes a bond as the argument `name`, and the resource's id unless `alone`; `done` is the result.
    """

    found: str
    cut: str
    name: str
    done: str
    ask: str = ""
    alone: bool = False


PASSING: Final = {
    ResourceKind.SPOT: Handling(
        "describe_spot_instance_requests",
        "SpotInstanceRequests[?contains(['open', 'active', 'disabled'], State)]",
        "SpotInstanceRequestId",
        "cancel_spot_instance_requests",
        done="cancelled",
        many=True,
    ),
    ResourceKind.INSTANCE: Handling(
        "describe_instances",
        "Reservations[].Instances[]",
        "InstanceId",
        "terminate_instances",
        done="terminating",
        many=True,
    ),
    ResourceKind.ADDRESS: Handling(
        "describe_addresses", "Addresses", "AllocationId", "release_address", done="released"
    ),
    ResourceKind.VOLUME: Handling("describe_volumes", "Volumes", "VolumeId", "delete_volume"),
    ResourceKind.INTERFACE: Handling(
        "describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId", "delete_network_interface"
    ),
    ResourceKind.RULE: Handling(
        "describe_security_group_rules",
        "SecurityGroupRules[?!IsEgress]",
        "SecurityGroupRuleId",
        "revoke_security_group_ingress",
        done="revoked",
        many=True,
        parent="GroupId",
    ),
}
"""What a launch makes."""

LASTING: Final = {
    ResourceKind.TEMPLATE: Handling(
        "describe_launch_templates", "LaunchTemplates", "LaunchTemplateId", "delete_launch_template"
    ),
    ResourceKind.GATEWAY: Handling(
        "describe_internet_gateways", "InternetGateways", "InternetGatewayId", "delete_internet_gateway"
    ),
    ResourceKind.SUBNET: Handling("describe_subnets", "Subnets", "SubnetId", "delete_subnet"),
    # A VPC's main table and default security group can't be deleted; they go with the VPC.
    ResourceKind.ROUTES: Handling(
        "describe_route_tables", "RouteTables[?!(Associations[?Main])]", "RouteTableId", "delete_route_table"
    ),
    ResourceKind.GROUP: Handling(
        "describe_security_groups", "SecurityGroups[?GroupName != 'default']", "GroupId", "delete_security_group"
    ),
    ResourceKind.VPC: Handling("describe_vpcs", "Vpcs", "VpcId", "delete_vpc"),
}
"""What costs nothing: the persistent root's. The former version made a set, and a launch template, for each launch."""

EC2: Final = PASSING | LASTING
IAM: Final = {
    ResourceKind.PROFILE: Handling(
        "list_instance_profiles", "InstanceProfiles", "InstanceProfileName", "delete_instance_profile"
    ),
    ResourceKind.ROLE: Handling("list_roles", "Roles", "RoleName", "delete_role"),
}

_ASSOCIATION: Final = "RouteTables[].Associations[].RouteTableAssociationId"
_UNPROFILE: Final = "remove_role_from_instance_profile"
TIES: Final = {
    ResourceKind.ADDRESS: [
        Tie("Addresses[].AssociationId", "disassociate_address", "AssociationId", "disassociated", alone=True)
    ],
    ResourceKind.GATEWAY: [
        Tie("InternetGateways[].Attachments[].VpcId", "detach_internet_gateway", "VpcId", "detached")
    ],
    ResourceKind.ROUTES: [Tie(_ASSOCIATION, "disassociate_route_table", "AssociationId", "disassociated", alone=True)],
    ResourceKind.PROFILE: [
        Tie("InstanceProfile.Roles[].RoleName", _UNPROFILE, "RoleName", "emptied", ask="get_instance_profile")
    ],
    ResourceKind.ROLE: [
        Tie(
            "InstanceProfiles[].InstanceProfileName",
            _UNPROFILE,
            "InstanceProfileName",
            "taken from its profile",
            ask="list_instance_profiles_for_role",
        ),
        Tie(
            "AttachedPolicies[].PolicyArn",
            "detach_role_policy",
            "PolicyArn",
            "policy detached",
            ask="list_attached_role_policies",
        ),
        Tie("PolicyNames", "delete_role_policy", "PolicyName", "policy deleted", ask="list_role_policies"),
    ],
}
