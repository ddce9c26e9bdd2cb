"""`python -m wms_ops.targets`: start, look at and stop the cloud on this machine."""

from __future__ import annotations

import argparse
import contextlib
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import psutil
from rich.console import Console
from rich.table import Table

from wms.paths import ROOT
from wms_ops.base.errors import CloudError
from wms_ops.machine.room import MLFLOW, RUN, S3, SERVICE
from wms_ops.targets import local
from wms_ops.targets.factory import LOOP
from wms_ops.targets.local import LocalCloud

FOLDER: Final = ROOT / LOOP / local.FOLDER
_MIB: Final = 2**20


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns 0. Raises CloudError, DiskFullError, UnwritableError."""
    arguments = _parser().parse_args(argv)
    cloud = LocalCloud(arguments.folder, lambda text: print(text, flush=True))
    run: Callable[[LocalCloud, argparse.Namespace], None] = arguments.run
    run(cloud, arguments)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m wms_ops.targets", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[LocalCloud, argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text)
        one.set_defaults(run=run)
        one.add_argument("--folder", type=Path, default=FOLDER, help="its state and data (default: .loop/cloud)")
        return one

    command("up", _up, "Start S3 and MLflow, unless they run.")
    down = command("down", _down, "End MLflow and the service; S3, which stands for the bucket, goes on.")
    down.add_argument("--all", action="store_true", help="end S3, too; all data stays on the disk")
    command("status", _status, "Show the cloud's processes, addresses and logs.")
    command("environ", _environ, 'Print `export` lines for a shell: eval "$(...)". They hold the store\'s secret keys.')
    return parser


def _up(cloud: LocalCloud, _: argparse.Namespace) -> None:
    endpoints = cloud.up()
    print(f"MLflow: {endpoints.mlflow}")
    print(f"S3:     {cloud.environ()['AWS_ENDPOINT_URL_S3']}")


def _down(cloud: LocalCloud, arguments: argparse.Namespace) -> None:
    if arguments.all:
        cloud.close()
        print("Nothing of the local cloud runs any more; its data stays on the disk.")
    else:
        cloud.down()
        print("MLflow and the service are stopped; `down --all` stops the store, too.")


def _environ(cloud: LocalCloud, _: argparse.Namespace) -> None:
    for name, value in sorted(cloud.environ().items()):
        print(f"export {name}={shlex.quote(value)}")


def _status(cloud: LocalCloud, _: argparse.Namespace) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"The local cloud is {cloud.status()}.")
    table = Table(box=None)
    for heading in ("role", "process", "address", "since, UTC", "memory"):
        table.add_column(heading, justify="right" if heading in ("process", "memory") else "left", no_wrap=True)
    count = 0
    for row in _rows(cloud):
        table.add_row(*row)
        count += 1
    if count:
        console.print(table)
    console.print(f"Logs: {cloud.room.logs}", markup=False)


def _rows(cloud: LocalCloud) -> Iterator[tuple[str, str, str, str, str]]:
    record, endpoints = cloud.room.read(), cloud.endpoints()
    addresses: dict[str, str | None] = {}
    with contextlib.suppress(CloudError):
        addresses[S3] = cloud.environ()["AWS_ENDPOINT_URL_S3"]
    if endpoints is not None:
        addresses |= {MLFLOW: endpoints.mlflow, SERVICE: endpoints.service}
    since = {server.pid: server.started_at for server in record.servers.values()}
    if record.current is not None:
        since[record.current.pid] = record.current.started_at
    for one in sorted(cloud.room.find(), key=lambda one: (one.role, one.process.pid)):
        role = "command" if one.role.startswith(RUN) else one.role
        if record.current is not None and one.process.pid == record.current.pid:
            role = f"{role}, version {record.current.version}"
        with contextlib.suppress(psutil.Error):  # it ends while it's looked at
            memory = f"{one.process.memory_info().rss / _MIB:.0f} MiB"
            pid = one.process.pid
            yield role, str(pid), addresses.get(one.role) or "", since.get(pid, "")[11:19], memory
