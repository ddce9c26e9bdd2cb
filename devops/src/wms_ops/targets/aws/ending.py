"""Ending instances in spite of what a person or a program has set on them, and saying what is set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from wms_ops.base.errors import CloudError
from wms_ops.base.poll import poll
from wms_ops.storage.codes import unless
from wms_ops.storage.trouble import aws_errors

# AWS refuses the end of an instance with either of them, and takes a moment to forget one.
_PROTECTIONS: Final = ("DisableApiTermination", "DisableApiStop")
_SETTLED_S: Final = 30.0
_GONE: Final = frozenset({"InvalidInstanceID.NotFound", "IncorrectInstanceState"})


def terminate(ec2: Any, instances: Sequence[str]) -> None:
    """Terminate instances; a protection against that is taken off first. Raises the SDK's errors and CloudError."""

    def begun() -> bool:
        return unless({"OperationNotPermitted"}, ec2.terminate_instances, InstanceIds=[*instances]) is not None

    if begun():
        return
    for instance in instances:
        for protection in _PROTECTIONS:
            off = {protection: {"Value": False}}
            unless(_GONE, ec2.modify_instance_attribute, InstanceId=instance, **off)
    if not poll(begun, _SETTLED_S, pause_s=0.5, most_s=5.0):
        listed = ", ".join(instances)
        raise CloudError(f"AWS refuses to end {listed} although their protection against it is off; run this again.")


def hindrances(ec2: Any, instance: str) -> list[str]:
    """What keeps an instance from its end, in sentences. Raises the errors of `aws_errors`."""

    def value(name: str) -> Any:
        wanted = {"InstanceId": instance, "Attribute": name[0].lower() + name[1:]}
        return ((unless(_GONE, ec2.describe_instance_attribute, **wanted) or {}).get(name) or {}).get("Value")

    with aws_errors(f"look at {instance}"):
        found = [
            f"It is protected against its end ({name}); a teardown takes that off."
            for name in _PROTECTIONS
            if value(name)
        ]
        if value("InstanceInitiatedShutdownBehavior") == "stop":
            found.append(
                "Its own deadline only stops it, and its disk goes on costing (InstanceInitiatedShutdownBehavior is "
                "stop); end it with devops/scripts/stop-cloud.sh."
            )
    return found
