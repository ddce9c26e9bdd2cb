"""Deletes the resources of an inventory in a working order, and proves that they are gone.

A second sweep continues a killed one: a sweep keeps no record, and the resources that are left still carry their tags.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jmespath
from tenacity import Retrying, retry_if_exception, wait_exponential

from wms_ops.base.errors import AccessDeniedError, CloudError, CredentialsExpiredError, CredentialsMissingError
from wms_ops.base.poll import poll
from wms_ops.storage.codes import Kind, code_of, kind_of_class, kind_of_code
from wms_ops.storage.trouble import from_sdk, is_gone
from wms_ops.targets.aws.ending import terminate
from wms_ops.targets.aws.inventory import Clients, Raw, Resource, find, find_lasting
from wms_ops.targets.aws.kinds import EC2, IAM, ORDER, TIES, ResourceKind

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
    ordered = sorted(resources, key=lambda one: ORDER.index(one.kind))
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


def drop_lasting(clients: Clients, environment: str, part: str, show: Callable[[str], None]) -> None:
    """Delete the network and roles with this part's tag. Raises as `sweep` does."""
    sweep(clients, find_lasting(clients, environment, part), show)


def prove_nothing_left(
    clients: Clients, *, environment: str | None, among: Collection[Resource] | None = None, patience_s: float = PROOF_S
) -> None:
    """Ask AWS again, for a while, whether anything is left: of the resources `among`, or at all.

    Terminated instances don't count. Raises CloudError with the resources that are left, and the errors of
    `aws_errors`.
    """
    keys = {(one.kind, one.id) for one in among or ()}

    def look() -> list[Resource]:
        found = find(clients, environment=environment)
        return [one for one in found if among is None or (one.kind, one.id) in keys]

    left = poll(look, patience_s, until=lambda left: not left, pause_s=0.2, most_s=5.0)
    if left and among is not None:
        raise CloudError(f"{_listed(left)} are still there; run `wms cloud reap` again in a minute.")
    if left:
        raise CloudError(f"The environment {environment} isn't gone: {_listed(left)} are left; {NEXT}.")


@dataclass(frozen=True)
class _Sweeper:
    clients: Clients
    step: Callable[[str], None]
    deadline: float

    def delete(self, resource: Resource) -> None:
        """Undo a resource's ties and delete it; raises the SDK's errors."""
        kind, name = resource.kind, resource.id
        client, how = (self.clients.ec2, EC2[kind]) if kind in EC2 else (self.clients.iam, IAM[kind])
        own, listed = {how.key: name}, {f"{how.key}s": [name]}
        parent = {how.parent: resource.parent} if how.parent else {}
        for tie in TIES.get(kind, ()):
            answer = self._ask(getattr(client, tie.ask or how.ask), **(own if tie.ask else listed))
            for bond in jmespath.search(tie.found, answer) or ():
                value = [bond] if isinstance(bond, dict) else bond
                self._do(resource, tie.done, getattr(client, tie.cut), {} if tie.alone else own, **{tie.name: value})
        if kind is ResourceKind.INSTANCE:
            self._do(resource, how.done, lambda: terminate(client, [name]), {})
        else:
            self._do(resource, how.done, getattr(client, how.delete), listed if how.many else own, **parent)

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

    def _do(self, resource: Resource, done: str, call: Callable[..., Any], own: Raw, **more: Any) -> None:
        self._ask(call, **own, **more)
        self.step(f"{resource}: {done}")

    def _ask(self, call: Callable[..., Any], **arguments: Any) -> Mapping[str, Any]:
        """The answer, empty for a missing resource. Errors that may pass are tried again until the deadline."""
        try:
            for attempt in Retrying(
                stop=lambda _: time.monotonic() >= self.deadline,
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
