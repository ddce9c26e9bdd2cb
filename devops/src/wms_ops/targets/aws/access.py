"""Access to the instance's ports: rules for single addresses, added when a user starts or uses it, removed at the end.

Terraform makes the security group without any ingress rule. Rules are added here, because a runner comes and goes while
the instance stays.
"""

from __future__ import annotations

import http.client
import ipaddress
import re
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, Final

from wms_ops.base.errors import CloudError
from wms_ops.base.settings import InstanceSettings
from wms_ops.storage.codes import unless
from wms_ops.storage.trouble import aws_errors

VARIABLE: Final = "WMS_CALLER_ADDRESS"
_THERE: Final = frozenset({"InvalidPermission.Duplicate"})
_ASK: Final = "https://checkip.amazonaws.com"


def caller_address(environ: Mapping[str, str]) -> str:
    """The address from which AWS sees this machine: WMS_CALLER_ADDRESS, else AWS's own answer. Raises CloudError.

    >>> caller_address({"WMS_CALLER_ADDRESS": "203.0.113.7"})
    '203.0.113.7'
    """
    text = InstanceSettings.read(environ).wms_caller_address
    origin = VARIABLE
    if not text:
        origin = _ASK
        try:
            with urllib.request.urlopen(_ASK, timeout=10) as answer:  # nosec B310 - https, above
                text = answer.read(64).decode("ascii", "replace").strip()
        except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
            reason = " ".join(str(getattr(error, "reason", error)).split()) or type(error).__name__
            raise CloudError(
                f"This machine's public address can't be found ({reason}); check the network, or set {VARIABLE}, "
                "for example to 203.0.113.7."
            ) from error
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError as error:
        raise CloudError(f"{origin} gives {text!r}, which is no IPv4 address; set {VARIABLE} to yours.") from error
    if address.is_unspecified:
        raise CloudError(f"{origin} gives {address}, which would open the ports to the world; set {VARIABLE} to yours.")
    return str(address)


def allow(ec2: Any, group: str, address: str, ports: Sequence[int], who: str) -> None:
    """Open these ports to one address; an existing rule stays."""
    ranges = [{"CidrIp": f"{address}/32", "Description": _text(who)}]
    for port in ports:
        rule = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": ranges}
        with aws_errors(f"open port {port} to {address}"):
            unless(_THERE, ec2.authorize_security_group_ingress, GroupId=group, IpPermissions=[rule])


def revoke(ec2: Any, group: str, who: str | None = None) -> int:
    """Remove the rules that `who` added, or all; returns their number."""
    with aws_errors(f"close the ports of {group}"):
        pages = ec2.get_paginator("describe_security_group_rules").paginate(
            Filters=[{"Name": "group-id", "Values": [group]}]
        )
        rules = [rule for page in pages for rule in page["SecurityGroupRules"] if not rule["IsEgress"]]
        ids = [rule["SecurityGroupRuleId"] for rule in rules if who is None or rule.get("Description") == _text(who)]
        if ids:
            ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=ids)
    return len(ids)


def _text(who: str) -> str:
    """`who` in the characters that AWS allows in a rule's description."""
    return re.sub(r"[^A-Za-z0-9 ._:/()#,@\[\]+=&;{}!$*-]", "-", who)[:250]
