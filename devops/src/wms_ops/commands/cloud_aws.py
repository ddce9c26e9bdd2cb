"""`python -m wms_ops.targets.aws`: an instance with MLflow and the service at AWS: start it, look at it, end it."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from wms.errors import UsageError
from wms.paths import ROOT
from wms_ops.base.question import ask
from wms_ops.cost.sessions import EndedBy, Purpose
from wms_ops.targets.aws import cleanup, deploy, show
from wms_ops.targets.aws import cloud as aws
from wms_ops.targets.aws.cloud import AwsCloud, open_aws
from wms_ops.targets.aws.launch import make_store
from wms_ops.targets.aws.teardown import take_down
from wms_ops.targets.factory import LOOP

FOLDER: Final = ROOT / LOOP / aws.FOLDER


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns 0, or 1 where the user said no. Raises WmsError."""
    arguments = _parser().parse_args(argv)
    cloud = open_aws(arguments.folder, lambda text: print(text, flush=True))
    run: Callable[[AwsCloud, argparse.Namespace], int | None] = arguments.run
    return run(cloud, arguments) or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m wms_ops.targets.aws",
        description=__doc__,
        epilog="Your choices: infrastructure/terraform/wms.tfvars. Exit codes: docs/exit-codes.md.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[AwsCloud, argparse.Namespace], int | None], text: str
    ) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text)
        one.set_defaults(run=run)
        one.add_argument("--folder", type=Path, default=FOLDER, help="for Terraform's files (default: .loop/aws)")
        return one

    starting = command("deploy", _deploy, "Start the instance, wait until MLflow works, serve Production.")
    starting.add_argument("--hours", type=_hours, help="its longest life (default: `hours` in wms.tfvars, else 4)")
    starting.add_argument("--idle-minutes", type=int, help="end it after so many minutes without a request; 0: never")
    starting.add_argument("--yes", action="store_true", help="don't ask")
    starting.add_argument("--models", type=Path, default=ROOT / "WMS" / "models", help=argparse.SUPPRESS)
    up = command("up", _up, "Start the instance for a pipeline, unless this holder has one.")
    up.add_argument("--hours", type=_hours, help="its longest life")
    command("store", _store, "Make the buckets that outlive instances, for the data set and for models.")
    down = command("down", _down, "End the instance and prove that nothing is left; for pipelines, asks nothing.")
    down.add_argument("--force", action="store_true", help="although somebody else holds it")
    stopping = command("stop", _stop, "End the instance, whoever started it, and prove that nothing is left.")
    stopping.add_argument("--yes", action="store_true", help="don't ask")
    clean = command("cleanup", _cleanup, "Delete everything of this environment at AWS, the data set and models too.")
    clean.add_argument("--account", help="the account's number, as the answer to the question")
    command("status", _status, "Show the instance, its start, its addresses, its price and who holds it.")
    command("environ", _environ, 'Print `export` lines for a shell: eval "$(...)". They hold MLflow\'s password.')
    for name, run, text in (
        ("allow", _allow, "Let this machine's address in."),
        ("revoke", _revoke, "Take away what `allow` on this machine gave."),
    ):
        command(name, run, text)
    return parser


def _hours(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 48:
        raise argparse.ArgumentTypeError(f"{text!r} isn't a number of hours from 0.1 to 48")
    return value


def _deploy(cloud: AwsCloud, arguments: argparse.Namespace) -> int:
    cloud = _living(cloud, arguments.hours, Purpose.MANUAL)
    if arguments.idle_minutes is not None:
        if not 0 <= arguments.idle_minutes <= 1440:
            raise UsageError("--idle-minutes takes 0 to 1440.")
        settings = cloud.site.settings.model_copy(update={"idle_minutes": arguments.idle_minutes})
        cloud = replace(cloud, site=replace(cloud.site, settings=settings))
    return deploy.deploy(cloud, arguments.models, is_sure=arguments.yes)


def _up(cloud: AwsCloud, arguments: argparse.Namespace) -> None:
    cloud = _living(cloud, arguments.hours, Purpose.PIPELINE)
    with deploy.ended_if_stopped(cloud):
        print(f"MLflow: {cloud.up().mlflow}")


def _living(cloud: AwsCloud, hours: float | None, purpose: Purpose) -> AwsCloud:
    lifetime = cloud.lifetime if hours is None else timedelta(hours=hours)
    return replace(cloud, lifetime=lifetime, purpose=purpose)


def _store(cloud: AwsCloud, _: argparse.Namespace) -> None:
    if not make_store(cloud.site):
        print("The buckets are there already.")
    url = cloud.site.names.dvc_url
    print(f"The data set's place: {url}; name it with `dvc remote modify storage url {url}`, and commit .dvc/config.")


def _down(cloud: AwsCloud, arguments: argparse.Namespace) -> None:
    take_down(cloud.site, force=arguments.force)
    print("Nothing that costs money is left of the instance: AWS was asked.")


def _stop(cloud: AwsCloud, arguments: argparse.Namespace) -> int:
    print(show.instance_text(cloud))
    if not arguments.yes and not _agrees("End it? [y/N] ", "add --yes"):
        print("Nothing was changed.")
        return 1
    take_down(cloud.site, force=True, ended_by=EndedBy.DOWN)
    print(show.after_stop(cloud))
    return 0


def _cleanup(cloud: AwsCloud, arguments: argparse.Namespace) -> int:
    print(cleanup.warning(cloud))
    account = cloud.site.names.account
    typed = arguments.account or ask(f"Type the account's number ({account}) to go on: ", "give it with --account")
    if typed != account:
        print("That isn't the account's number; nothing was changed.")
        return 1
    cleanup.clean_up(cloud)
    print("Everything of this environment is deleted at AWS; what lies in Git stays.")
    return 0


def _status(cloud: AwsCloud, _: argparse.Namespace) -> None:
    print(show.status_text(cloud))


def _environ(cloud: AwsCloud, _: argparse.Namespace) -> None:
    for name, value in sorted(cloud.environ().items()):
        print(f"export {name}={shlex.quote(value)}")


def _allow(cloud: AwsCloud, _: argparse.Namespace) -> None:
    print(f"The instance's ports are open to {cloud.allow(cloud.site.visitor)}.")


def _revoke(cloud: AwsCloud, _: argparse.Namespace) -> None:
    count = cloud.revoke(cloud.site.visitor)
    print(f"{count} rules were removed." if count else "There was nothing to remove.")


def _agrees(question: str, instead: str) -> bool:
    return ask(question, instead).lower() in ("y", "yes")
