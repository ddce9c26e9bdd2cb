"""`wms cloud`: starts, shows and ends an instance with MLflow and the service, on this machine or at AWS.

`--target`, else WMS_CLOUD, names the target. A module commands/cloud_TARGET.py has a function for each command
of its target, so that a command for a target imports nothing of the others; cloud_any.py is for other targets.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import shlex
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from wms.command import Command, any_path, new_folder, nothing, number, whole
from wms.errors import UsageError
from wms.json_text import to_json
from wms.names import harmless
from wms.paths import ROOT
from wms_ops.base.layout import LOOP
from wms_ops.targets.factory import CHOICE, TARGETS, chosen_target, cloud_in, open_cloud
from wms_ops.targets.protocol import Cloud

_ONLY: Final = {"hours": "aws", "force": "aws", "all": "local"}
"""Options that only a single target has."""


def open_target(name: str, folder: Path | None = None) -> Cloud:
    """This clone's cloud at a target, with its state in `folder`. Nothing is started. Raises ConfigError."""

    def show(text: str) -> None:
        print(harmless(text, keep="\t\n"), flush=True)

    return open_cloud(name, folder, show) if folder else cloud_in(ROOT / LOOP, show, name)


def module_of(target: str) -> Any:
    """The module with a target's functions; a common module for targets without functions of their own."""
    name = f"wms_ops.commands.cloud_{target}"
    return importlib.import_module(name if importlib.util.find_spec(name) else "wms_ops.commands.cloud_any")


def command(name: str) -> Command:
    """The command `wms cloud NAME`."""
    text, declare = _COMMANDS[name]

    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--target", choices=tuple(TARGETS), help=f"where (default: {CHOICE}, else local)")
        parser.add_argument("--folder", type=new_folder, help="its state here (default: .loop/cloud, .loop/aws)")
        declare(parser)

    return Command(text, add, partial(_run, name), "Your choices for AWS: infrastructure/terraform/wms.tfvars.")


def _run(name: str, options: argparse.Namespace) -> int:
    """Call the target's function; returns its code. Raises UsageError for options that the target lacks."""
    target = options.target or chosen_target()
    for option, owner in _ONLY.items():
        if getattr(options, option, None) and owner != target:
            raise UsageError(f"--{option} is for the target {owner}, but this is {target}; leave it out.")
    module = module_of(target)
    if name in ("environ", "status"):
        cloud = open_target(target, options.folder)
        return _environ(cloud) if name == "environ" else _status(module, cloud, as_json=options.json)
    run: Callable[[Any, argparse.Namespace], int] | None = getattr(module, name, None)
    if run is None:
        others = " or ".join(f"--target {one}" for one in TARGETS if one != target)
        raise UsageError(f"The target {target} has no `wms cloud {name}`; add {others}.")
    return run(open_target(target, options.folder), options)


def _environ(cloud: Cloud) -> int:
    for name, value in sorted(cloud.environ().items()):
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _status(module: Any, cloud: Cloud, *, as_json: bool) -> int:
    if not as_json:
        module.show(cloud)
        return 0
    print(to_json(facts(cloud) | module.facts(cloud), indent=2))
    return 0


def facts(cloud: Cloud) -> dict[str, Any]:
    """Facts that every target knows of its instance, as JSON values."""
    endpoints = cloud.endpoints()
    return {
        "target": cloud.name,
        "state": str(cloud.status()),
        "mlflow": endpoints and endpoints.mlflow,
        "service": endpoints and endpoints.service,
    }


def _of_up(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--hours", type=number(0.1, 48), help="aws: its longest life (default: `hours` in wms.tfvars, else 4)"
    )


def _of_deploy(parser: argparse.ArgumentParser) -> None:
    _of_up(parser)
    parser.add_argument("--idle-minutes", type=whole(0, 1440), help="end it after so many without a request; 0: never")
    _of_question(parser)
    parser.add_argument("--models", type=any_path, default=ROOT / "WMS" / "models", help=argparse.SUPPRESS)


def _of_down(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="local: end S3, too; all data stays on the disk")
    parser.add_argument("--force", action="store_true", help="aws: although another user holds it")


def _of_question(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="don't ask")


def _of_cleanup(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--account", help="the account's number, as the answer to the question")


def _of_status(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


_COMMANDS: Final[Mapping[str, tuple[str, Callable[[argparse.ArgumentParser], None]]]] = {
    "up": ("Start MLflow, and what it needs, unless it runs; asks nothing.", _of_up),
    "down": ("End MLflow and the service; the store of photos and models stays. Asks nothing.", _of_down),
    "status": ("Show the instance, its addresses, and at AWS its start, price and holder.", _of_status),
    "environ": ('Print `export` lines for a shell, eval "$(...)"; they hold secrets.', nothing),
    "deploy": ("Start the instance, wait until MLflow works, serve Production; asks first.", _of_deploy),
    "stop": ("End the instance, whoever started it, and prove that nothing is left; asks first.", _of_question),
    "allow": ("Let this machine's address in.", nothing),
    "revoke": ("Take away what `wms cloud allow` on this machine gave.", nothing),
    "store": ("Make the buckets that outlive instances, for the data set and for models.", nothing),
    "cleanup": ("Delete everything of this environment at AWS, the data set and models too.", _of_cleanup),
}
