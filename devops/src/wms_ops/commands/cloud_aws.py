"""The commands of `wms cloud` at AWS."""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import timedelta
from typing import Any

from wms.errors import DECLINED
from wms_ops.base.question import agrees, ask
from wms_ops.cost.sessions import Purpose
from wms_ops.targets.aws import cleanup as cleaning
from wms_ops.targets.aws import deploy as deploying
from wms_ops.targets.aws import show as showing
from wms_ops.targets.aws.cloud import AwsCloud
from wms_ops.targets.aws.launch import make_store
from wms_ops.targets.aws.teardown import take_down


def deploy(cloud: AwsCloud, arguments: argparse.Namespace) -> int:
    """Start the instance, if none runs, and serve Production; returns the code of `deploying.deploy`.

    Raises WmsError.
    """
    cloud = _living(cloud, arguments.hours, Purpose.MANUAL)
    if arguments.idle_minutes is not None:
        settings = cloud.context.settings.model_copy(update={"idle_minutes": arguments.idle_minutes})
        cloud = replace(cloud, context=replace(cloud.context, settings=settings))
    return deploying.deploy(cloud, arguments.models, is_sure=arguments.yes)


def up(cloud: AwsCloud, arguments: argparse.Namespace) -> int:
    """Start the instance for a pipeline. Raises WmsError; an interrupted start is ended."""
    cloud = _living(cloud, arguments.hours, Purpose.PIPELINE)
    with deploying.ended_if_stopped(cloud):
        print(f"MLflow: {cloud.up().mlflow}")
    return 0


def _living(cloud: AwsCloud, hours: float | None, purpose: Purpose) -> AwsCloud:
    lifetime = cloud.lifetime if hours is None else timedelta(hours=hours)
    return replace(cloud, lifetime=lifetime, purpose=purpose)


def store(cloud: AwsCloud, _: argparse.Namespace) -> int:
    """Create the buckets and print the command that sets the data set's bucket. Raises the errors of `make_store`."""
    if not make_store(cloud.context):
        print("The buckets are there already.")
    url = cloud.context.names.dvc_url
    print(f"The data set's bucket: {url}; name it with `wms init --bucket {url}`, and commit what it writes.")
    return 0


def down(cloud: AwsCloud, arguments: argparse.Namespace) -> int:
    """End the instance and verify its absence. Raises BusyError for an instance that another user holds, CloudError."""
    take_down(cloud.context, force=arguments.force)
    print("Nothing that costs money is left of the instance: AWS was asked.")
    return 0


def stop(cloud: AwsCloud, arguments: argparse.Namespace) -> int:
    """End any instance after a question; returns DECLINED for the answer no. Raises the errors of `take_down`."""
    print(showing.instance_text(cloud))
    if not arguments.yes and not agrees("End it?", "add --yes"):
        print("Nothing was changed.")
        return DECLINED
    take_down(cloud.context, force=True)
    print(showing.after_stop(cloud))
    return 0


def cleanup(cloud: AwsCloud, arguments: argparse.Namespace) -> int:
    """Delete the whole environment if the account's number is given, else return DECLINED.

    Raises the errors of `clean_up`.
    """
    print(cleaning.warning(cloud))
    account = cloud.context.names.account
    typed = arguments.account or ask(f"Type the account's number ({account}) to go on: ", "give it with --account")
    if typed != account:
        print("That isn't the account's number; nothing was changed.")
        return DECLINED
    cleaning.clean_up(cloud)
    print("Everything of this environment is deleted at AWS; what lies in Git stays.")
    return 0


def allow(cloud: AwsCloud, _: argparse.Namespace) -> int:
    """Open the ports to this machine's address. Raises CloudError if no instance runs."""
    print(f"The instance's ports are open to {cloud.allow(cloud.context.visitor)}.")
    return 0


def revoke(cloud: AwsCloud, _: argparse.Namespace) -> int:
    """Close the ports that `allow` opened. Raises the errors of AWS."""
    count = cloud.revoke(cloud.context.visitor)
    print(f"{count} rules were removed." if count else "There was nothing to remove.")
    return 0


def show(cloud: AwsCloud) -> None:
    """Print all facts about the instance. Raises the errors of AWS."""
    print(showing.status_text(cloud))


def facts(cloud: AwsCloud) -> dict[str, Any]:
    """Facts of this target only: account, region, environment and instances. Raises the errors of AWS."""
    names = cloud.context.names
    instances = [
        {
            "id": one.id,
            "type": one.kind,
            "state": one.state,
            "owner": one.owner,
            "launched_at": one.launched_at.isoformat(),
            "deadline": one.deadline and one.deadline.isoformat(),
        }
        for one in cloud.context.instances()
    ]
    return {"account": names.account, "region": names.region, "environment": names.environment, "instances": instances}


def summary(cloud: AwsCloud) -> dict[str, Any]:
    """This target's entries for `wms status`: the instance's deadline, and the month's cost."""
    deadlines = [one.deadline for one in cloud.context.instances() if one.is_alive and one.deadline]
    until = f"{min(deadlines):%Y-%m-%d %H:%M} UTC" if deadlines else None
    return {"until": until, "cost": showing.month_text(cloud)}
