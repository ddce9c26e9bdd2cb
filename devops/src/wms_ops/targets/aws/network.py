"""The lasting network as Terraform's root `persistent` made it: what an instance is launched into."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from wms_ops.base.errors import CloudError
from wms_ops.storage.bucket import Shared
from wms_ops.storage.codes import unless
from wms_ops.storage.names import ENVIRONMENT_TAG, PART_TAG, STORE_PART
from wms_ops.storage.trouble import aws_errors
from wms_ops.targets.aws.context import STORE_ROOT, AwsContext
from wms_ops.targets.aws.inventory import tags_of

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
    prefix = context.names.role_prefix
    own = context.settings.existing_instance_profile
    wanted = (own, None) if own else (f"{prefix}-instance", f"{prefix}-mlflow")
    return found if (found.instance_profile, found.mlflow_role) == wanted else None


def need_network(context: AwsContext) -> Network:
    """The network. Raises CloudError before the first apply, or if AWS has its parts not with this environment's tags.

    Raises the errors of `aws_errors`.
    """
    found = read_network(context)
    if found is None:
        raise CloudError("Terraform's state names no network for the instance; run `wms cloud store`.")
    if _vpc(context, found) is None:
        listed = ", ".join([*found.subnets.values(), found.security_group_id])
        raise CloudError(
            f"Of what Terraform's state names as the network ({listed}) something is gone or lacks the tags "
            f"{ENVIRONMENT_TAG}={context.names.environment} and {PART_TAG}={STORE_PART}, so no instance is started in "
            "it; run `wms cloud store`."
        )
    return found


def _vpc(context: AwsContext, network: Network) -> str | None:
    """The VPC of the network; None unless all its subnets and its group are there and this environment's."""
    if not network.subnets:
        return None
    ec2 = context.aws.ec2
    wanted = {ENVIRONMENT_TAG: context.names.environment, PART_TAG: STORE_PART}.items()
    with aws_errors("look for the network"):
        subnets = unless(_GONE, ec2.describe_subnets, SubnetIds=[*network.subnets.values()])
        groups = unless(_GONE, ec2.describe_security_groups, GroupIds=[network.security_group_id])
    if not subnets or not groups:
        return None
    parts = [*subnets["Subnets"], *groups["SecurityGroups"]]
    if not all(wanted <= tags_of(part).items() for part in parts):
        return None
    return str(groups["SecurityGroups"][0]["VpcId"])


def network_is_whole(context: AwsContext) -> bool:
    """Whether AWS has the whole network, this environment's, with its way out. Raises the errors of `aws_errors`."""
    found = read_network(context)
    vpc = _vpc(context, found) if found is not None else None
    if found is None or vpc is None:
        return False
    with aws_errors("look for the network"):
        within = [{"Name": "vpc-id", "Values": [vpc]}]
        tables = context.aws.ec2.describe_route_tables(Filters=within)["RouteTables"]
        if context.settings.existing_instance_profile is not None:
            return _leads_out(tables)
        wanted = {"InstanceProfileName": found.instance_profile}
        profile = unless(_NO_PROFILE, context.aws.iam.get_instance_profile, **wanted)
        return _leads_out(tables) and bool(profile and profile["InstanceProfile"]["Roles"])


def _leads_out(tables: list[dict[str, Any]]) -> bool:
    routes = [route for table in tables for route in table["Routes"]]
    return any(str(route.get("GatewayId", "")).startswith("igw-") for route in routes)
