"""The lasting network as Terraform's root `persistent` made it: what an instance is launched into."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from wms_ops.base.errors import CloudError
from wms_ops.storage.bucket import Shared
from wms_ops.storage.codes import unless
from wms_ops.storage.trouble import aws_errors
from wms_ops.targets.aws.context import STORE_ROOT, AwsContext

_GONE: Final = frozenset({"InvalidSubnetID.NotFound", "InvalidGroup.NotFound", "InvalidGroupId.Malformed"})
_NO_PROFILE: Final = frozenset({"NoSuchEntity"})


class Network(BaseModel):
    """The root's outputs: a subnet for each availability zone, the security group, the name of the profile."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    subnets: dict[str, str]
    security_group_id: str
    instance_profile: str
    mlflow_role: str | None = None


def read_network(context: AwsContext) -> Network | None:
    """The network that the root's state names; None before the first apply. Raises the bucket's errors."""
    state, _ = Shared(context.state, context.names.state_key(STORE_ROOT)).read()
    outputs = state.get("outputs") if isinstance(state, dict) else None
    if not isinstance(outputs, dict):
        return None
    try:
        found = Network.model_validate({name: one["value"] for name, one in outputs.items()})
    except (ValidationError, LookupError, TypeError):
        return None  # of the former version, which made the network for each launch
    # Whoever may write the state could name any profile of the account here: names follow from the settings alone.
    prefix = f"{context.names.prefix}-{context.names.region}"
    own = context.settings.existing_instance_profile
    wanted = (own, None) if own else (f"{prefix}-instance", f"{prefix}-mlflow")
    return found if (found.instance_profile, found.mlflow_role) == wanted else None


def need_network(context: AwsContext) -> Network:
    """The network. Raises CloudError before the first apply."""
    found = read_network(context)
    if found is None:
        raise CloudError("Terraform's state names no network for the instance; run `wms cloud store`.")
    return found


def network_is_whole(context: AwsContext) -> bool:
    """Whether AWS has the whole network, with its way to the internet. Raises the errors of `aws_errors`."""
    found = read_network(context)
    if found is None or not found.subnets:
        return False
    ec2, iam = context.aws.ec2, context.aws.iam
    with aws_errors("look for the network"):
        subnets = unless(_GONE, ec2.describe_subnets, SubnetIds=[*found.subnets.values()])
        groups = unless(_GONE, ec2.describe_security_groups, GroupIds=[found.security_group_id])
        if not subnets or not groups:
            return False
        within = [{"Name": "vpc-id", "Values": [groups["SecurityGroups"][0]["VpcId"]]}]
        tables = ec2.describe_route_tables(Filters=within)["RouteTables"]
        if context.settings.existing_instance_profile is not None:
            return _leads_out(tables)
        wanted = {"InstanceProfileName": found.instance_profile}
        profile = unless(_NO_PROFILE, iam.get_instance_profile, **wanted)
        return _leads_out(tables) and bool(profile and profile["InstanceProfile"]["Roles"])


def _leads_out(tables: list[dict[str, Any]]) -> bool:
    routes = [route for table in tables for route in table["Routes"]]
    return any(str(route.get("GatewayId", "")).startswith("igw-") for route in routes)
