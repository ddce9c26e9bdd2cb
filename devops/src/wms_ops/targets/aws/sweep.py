"""Deletes the resources of an inventory in a working order, and proves that they are gone.

A second sweep continues a killed one: a sweep keeps no record, and the resources that are left still carry their tags.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential

from wms_ops.base.errors import AccessDeniedError, CloudError, CredentialsExpiredError, CredentialsMissingError
from wms_ops.base.poll import poll
from wms_ops.storage.codes import Kind, code_of, kind_of_class, kind_of_code
from wms_ops.storage.trouble import from_sdk, is_gone
from wms_ops.targets.aws.inventory import Resource, ResourceKind, find

PATIENCE_S: Final = 600.0
"""For a whole sweep: AWS takes about a minute to end an instance and to release its network interface."""

PROOF_S: Final = 60.0
"""How long AWS may still list a deleted resource."""

NEXT: Final = "run devops/scripts/stop-cloud.sh again, or delete them in the AWS console"
_WITHOUT_WAITING: Final = frozenset({ResourceKind.SPOT, ResourceKind.INSTANCE, ResourceKind.ADDRESS})
_IN_USE: Final = frozenset(
    {
        *("DependencyViolation", "VolumeInUse", "InvalidNetworkInterface.InUse", "InvalidIPAddress.InUse"),
        *("InvalidGroup.InUse", "DeleteConflict", "IncorrectState", "IncorrectInstanceState"),
        *("ConcurrentModification", "OperationAborted"),
    }
)
_DETACHED: Final = frozenset({"Gateway.NotAttached"})
_HOPELESS: Final = (CredentialsExpiredError, CredentialsMissingError)


class Clients(Protocol):
    """boto3's clients; `Aws` has them."""

    @property
    def ec2(self) -> Any: ...

    @property
    def iam(self) -> Any: ...


def sweep(
    clients: Clients,
    resources: Iterable[Resource],
    show: Callable[[str], None],
    step: Callable[[str], None] = lambda _: None,
    *,
    patience_s: float = PATIENCE_S,
) -> None:
    """Delete resources, the expensive ones first, each in spite of others' failures; a missing resource is no error.

    `step`, for tests, hears each request after its answer. Raises CloudError with all resources that couldn't be
    deleted, or at once CredentialsExpiredError or CredentialsMissingError, since no further deletion could succeed.
    """
    order = list(ResourceKind)
    ordered = sorted(resources, key=lambda one: order.index(one.kind))
    sweeper = _Sweeper(clients, step, time.monotonic() + patience_s)
    failed: dict[Resource, str] = {}
    waited = False
    for number, resource in enumerate(ordered):
        if not waited and resource.kind not in _WITHOUT_WAITING:
            sweeper.await_ends(ordered, failed)
            waited = True
        show(f"Deleting {resource}.")
        try:
            sweeper.delete(resource)
        except Exception as error:
            failed[resource] = _reason(error, f"delete {_listed([*failed, *ordered[number:]])}")
    if not waited:
        sweeper.await_ends(ordered, failed)
    if failed:
        region = clients.ec2.meta.region_name
        told = "; ".join(f"{resource} ({reason})" for resource, reason in failed.items())
        raise CloudError(f"{len(failed)} of {len(ordered)} things in {region} can't be deleted: {told}; {NEXT}.")


def prove_nothing_left(
    ec2: Any,
    iam: Any,
    *,
    environment: str,
    patience_s: float = PROOF_S,
) -> Mapping[ResourceKind, int]:
    """Ask AWS again; returns the number left of each kind, all 0. Terminated instances don't count.

    Raises CloudError with the resources that are left, and the errors of `aws_errors`.
    """
    left = await_absence(lambda: find(ec2, iam, environment=environment), patience_s)
    if left:
        raise CloudError(f"The environment {environment} isn't gone: {_listed(left)} are left; {NEXT}.")
    counts = Counter(one.kind for one in left)
    return {kind: counts[kind] for kind in ResourceKind}


def await_absence(look: Callable[[], Sequence[Resource]], patience_s: float = PROOF_S) -> Sequence[Resource]:
    """The resources that `look` still finds after `patience_s` seconds: AWS lists deleted resources for a while."""
    return poll(look, patience_s, until=lambda left: not left, pause_s=0.2, most_s=5.0)


@dataclass(frozen=True)
class _Sweeper:
    clients: Clients
    step: Callable[[str], None]
    deadline: float

    def delete(self, resource: Resource) -> None:
        """Delete one resource; raises the SDK's errors."""
        ec2, iam, name = self.clients.ec2, self.clients.iam, resource.id
        last: dict[ResourceKind, tuple[str, Callable[..., Any], dict[str, Any]]] = {
            ResourceKind.SPOT: ("cancelled", ec2.cancel_spot_instance_requests, {"SpotInstanceRequestIds": [name]}),
            ResourceKind.INSTANCE: ("terminating", ec2.terminate_instances, {"InstanceIds": [name]}),
            ResourceKind.ADDRESS: ("released", ec2.release_address, {"AllocationId": name}),
            ResourceKind.VOLUME: ("deleted", ec2.delete_volume, {"VolumeId": name}),
            ResourceKind.TEMPLATE: ("deleted", ec2.delete_launch_template, {"LaunchTemplateId": name}),
            ResourceKind.INTERFACE: ("deleted", ec2.delete_network_interface, {"NetworkInterfaceId": name}),
            ResourceKind.GATEWAY: ("deleted", ec2.delete_internet_gateway, {"InternetGatewayId": name}),
            ResourceKind.SUBNET: ("deleted", ec2.delete_subnet, {"SubnetId": name}),
            ResourceKind.ROUTES: ("deleted", ec2.delete_route_table, {"RouteTableId": name}),
            ResourceKind.GROUP: ("deleted", ec2.delete_security_group, {"GroupId": name}),
            ResourceKind.VPC: ("deleted", ec2.delete_vpc, {"VpcId": name}),
            ResourceKind.PROFILE: ("deleted", iam.delete_instance_profile, {"InstanceProfileName": name}),
            ResourceKind.ROLE: ("deleted", iam.delete_role, {"RoleName": name}),
        }
        before = {
            ResourceKind.ADDRESS: self._free_address,
            ResourceKind.GATEWAY: self._detach_gateway,
            ResourceKind.ROUTES: self._free_routes,
            ResourceKind.GROUP: self._free_group,
            ResourceKind.PROFILE: self._empty_profile,
            ResourceKind.ROLE: self._empty_role,
        }
        if resource.kind in before:
            before[resource.kind](resource)
        done, call, arguments = last[resource.kind]
        self._do(resource, done, call, **arguments)

    def await_ends(self, resources: Iterable[Resource], failed: dict[Resource, str]) -> None:
        """Wait until the instances are terminated: until then their volumes and interfaces are in use."""
        for resource in resources:
            if resource.kind is ResourceKind.INSTANCE and resource not in failed:
                try:
                    self._await_end(resource)
                except Exception as error:
                    failed[resource] = _reason(error, f"wait for the end of {resource}")

    def _await_end(self, resource: Resource) -> None:
        def alive() -> list[str]:
            answer = self._ask(self.clients.ec2.describe_instances, InstanceIds=[resource.id])
            states = [one["State"]["Name"] for group in answer.get("Reservations", []) for one in group["Instances"]]
            return [state for state in states if state != "terminated"]

        if left := poll(alive, self.deadline - time.monotonic(), until=lambda states: not states, most_s=5.0):
            raise CloudError(f"it is still {left[0]}")
        self.step(f"{resource}: terminated")

    def _free_address(self, resource: Resource) -> None:
        ec2 = self.clients.ec2
        for one in self._ask(ec2.describe_addresses, AllocationIds=[resource.id]).get("Addresses", []):
            if one.get("AssociationId"):
                self._do(resource, "disassociated", ec2.disassociate_address, AssociationId=one["AssociationId"])

    def _detach_gateway(self, resource: Resource) -> None:
        ec2 = self.clients.ec2
        answer = self._ask(ec2.describe_internet_gateways, InternetGatewayIds=[resource.id])
        for one in [one for gateway in answer.get("InternetGateways", []) for one in gateway["Attachments"]]:
            self._do(
                resource, "detached", ec2.detach_internet_gateway, InternetGatewayId=resource.id, VpcId=one["VpcId"]
            )

    def _free_routes(self, resource: Resource) -> None:
        ec2 = self.clients.ec2
        answer = self._ask(ec2.describe_route_tables, RouteTableIds=[resource.id])
        for one in [one for table in answer.get("RouteTables", []) for one in table["Associations"]]:
            self._do(
                resource, "disassociated", ec2.disassociate_route_table, AssociationId=one["RouteTableAssociationId"]
            )

    def _free_group(self, resource: Resource) -> None:
        """Revoke rules that name groups: two groups that name each other can't be deleted otherwise."""
        ec2 = self.clients.ec2
        for group in self._ask(ec2.describe_security_groups, GroupIds=[resource.id]).get("SecurityGroups", []):
            for rules, revoke in (
                (group["IpPermissions"], ec2.revoke_security_group_ingress),
                (group["IpPermissionsEgress"], ec2.revoke_security_group_egress),
            ):
                named = [one for one in rules if one.get("UserIdGroupPairs")]
                if named:
                    self._do(resource, "rules revoked", revoke, GroupId=resource.id, IpPermissions=named)

    def _empty_profile(self, resource: Resource) -> None:
        iam = self.clients.iam
        answer = self._ask(iam.get_instance_profile, InstanceProfileName=resource.id)
        for one in answer.get("InstanceProfile", {}).get("Roles", []):
            names = {"InstanceProfileName": resource.id, "RoleName": one["RoleName"]}
            self._do(resource, "emptied", iam.remove_role_from_instance_profile, **names)

    def _empty_role(self, resource: Resource) -> None:
        iam, role = self.clients.iam, {"RoleName": resource.id}
        for one in self._ask(iam.list_instance_profiles_for_role, **role).get("InstanceProfiles", []):
            names = {"InstanceProfileName": one["InstanceProfileName"], **role}
            self._do(resource, "taken from its profile", iam.remove_role_from_instance_profile, **names)
        for one in self._ask(iam.list_attached_role_policies, **role).get("AttachedPolicies", []):
            self._do(resource, "policy detached", iam.detach_role_policy, PolicyArn=one["PolicyArn"], **role)
        for policy in self._ask(iam.list_role_policies, **role).get("PolicyNames", []):
            self._do(resource, "policy deleted", iam.delete_role_policy, PolicyName=policy, **role)

    def _do(self, resource: Resource, done: str, call: Callable[..., Any], **arguments: Any) -> None:
        self._ask(call, **arguments)
        self.step(f"{resource}: {done}")

    def _ask(self, call: Callable[..., Any], **arguments: Any) -> Mapping[str, Any]:
        """The answer, empty for a missing resource. Errors that may pass are tried again until the deadline."""
        try:
            for attempt in Retrying(
                stop=self._is_over,
                wait=wait_exponential(0.2, max=10),
                retry=retry_if_exception(_may_pass),
                reraise=True,
            ):
                with attempt:
                    return call(**arguments) or {}
        except Exception as error:
            if not is_gone(error) and code_of(error) not in _DETACHED:
                raise
        return {}

    def _is_over(self, _: RetryCallState) -> bool:
        return time.monotonic() >= self.deadline


def _may_pass(error: BaseException) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError

    if isinstance(error, ClientError):
        code = code_of(error) or ""
        # EC2 has no code of its own for an interface that its instance still holds.
        in_use = code in _IN_USE or (code == "InvalidParameterValue" and "in use" in str(error))
        return in_use or kind_of_code(code) is Kind.BUSY
    return isinstance(error, BotoCoreError) and kind_of_class(error) is Kind.UNREACHABLE


def _reason(error: Exception, what: str) -> str:
    """The reason why a resource couldn't be deleted. Raises an error that makes all other deletions impossible."""
    from botocore.exceptions import BotoCoreError, ClientError

    if isinstance(error, CloudError):
        return str(error)
    if not isinstance(error, ClientError | BotoCoreError):
        raise error
    mapped = from_sdk(error, what)
    is_unknown_key = (
        isinstance(mapped, AccessDeniedError) and kind_of_code(code_of(error) or "") is not Kind.NOT_ALLOWED
    )
    if isinstance(mapped, _HOPELESS) or is_unknown_key:
        raise mapped from error
    return (
        f"{code_of(error)}: {error.response['Error'].get('Message', '')}".rstrip(". ") if code_of(error) else str(error)
    )


def _listed(resources: Iterable[Resource]) -> str:
    return ", ".join(str(one) for one in resources)
