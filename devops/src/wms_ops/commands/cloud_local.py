"""The commands of `wms cloud` on this machine."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from typing import Any, Final

import psutil

from wms.tables import Column, make_table, plain_console
from wms_ops.base.errors import CloudError
from wms_ops.machine.workspace import MLFLOW, RUN, S3, SERVICE
from wms_ops.targets.local import LocalCloud

_MIB: Final = 2**20
_COLUMNS: Final = (
    *(Column("role"), Column("process", justify="right"), Column("address"), Column("since, UTC")),
    Column("memory", justify="right"),
)


def up(cloud: LocalCloud, _: argparse.Namespace) -> int:
    """Start S3 and MLflow. Raises CloudError, DiskFullError, UnwritableError."""
    endpoints = cloud.up()
    print(f"MLflow: {endpoints.mlflow}")
    print(f"S3:     {cloud.environ()['AWS_ENDPOINT_URL_S3']}")
    return 0


def down(cloud: LocalCloud, options: argparse.Namespace) -> int:
    """Stop MLflow and the service, with `--all` also S3. Raises CloudError if any process is left."""
    if options.all:
        cloud.close()
        print("Nothing of the local cloud runs any more; its data stays on the disk.")
    else:
        cloud.down()
        print("MLflow and the service are stopped; `wms cloud down --all` stops the store, too.")
    return 0


def show(cloud: LocalCloud) -> None:
    """Print the cloud's state and a table of its processes."""
    console = plain_console(soft_wrap=True)
    console.print(f"The local cloud is {cloud.status()}.")
    if rows := list(_rows(cloud)):
        console.print(make_table(_COLUMNS, rows, framed=False))
    console.print(f"Logs: {cloud.workspace.logs}")


def facts(cloud: LocalCloud) -> dict[str, Any]:
    """Facts of this target only: its processes and the folder of the logs."""
    names = ("role", "process", "address", "since", "memory")
    processes = [dict(zip(names, row, strict=True)) for row in _rows(cloud)]
    return {"processes": processes, "logs": str(cloud.workspace.logs)}


def summary(_: LocalCloud) -> dict[str, Any]:
    """This target's entries for `wms status`: none, because the local cloud has neither deadline nor price."""
    return {}


def _rows(cloud: LocalCloud) -> Iterator[tuple[str, str, str, str, str]]:
    record, endpoints = cloud.workspace.read(), cloud.endpoints()
    addresses: dict[str, str | None] = {}
    with contextlib.suppress(CloudError):
        addresses[S3] = cloud.environ()["AWS_ENDPOINT_URL_S3"]
    if endpoints is not None:
        addresses |= {MLFLOW: endpoints.mlflow, SERVICE: endpoints.service}
    since = {server.pid: server.started_at for server in record.servers.values()}
    if record.current is not None:
        since[record.current.pid] = record.current.started_at
    for one in sorted(cloud.workspace.find(), key=lambda one: (one.role, one.process.pid)):
        role = "command" if one.role.startswith(RUN) else one.role
        if record.current is not None and one.process.pid == record.current.pid:
            role = f"{role}, version {record.current.version}"
        with contextlib.suppress(psutil.Error):  # the process may end during the read
            memory = f"{one.process.memory_info().rss / _MIB:.0f} MiB"
            pid = one.process.pid
            yield role, str(pid), addresses.get(one.role) or "", since.get(pid, "")[11:19], memory
