"""Starts and stops S3 and MLflow: in parallel, on free ports, with a state on disk for every moment.

The caller holds the cloud's lock.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import psutil

from wms.errors import from_os_error
from wms_ops.base.errors import CloudError
from wms_ops.machine import seaweed
from wms_ops.machine.answers import probe_mlflow
from wms_ops.machine.environment import plain_environ, storage_environ
from wms_ops.machine.mlflow_server import server_environ
from wms_ops.machine.processes import MarkedProcess, draw_ports, end, is_taken, now
from wms_ops.machine.record import CloudRecord, ServerRecord
from wms_ops.machine.servers import PortTakenError, Server, Started, start, wait
from wms_ops.machine.storage import ARTIFACTS_URL, probe_of, require_space
from wms_ops.machine.types import CloudState
from wms_ops.machine.workspace import GRACE_S, MLFLOW, S3, SERVICE, Workspace, named

TRIES: Final = 3


def s3_url(record: CloudRecord) -> str:
    """The S3 server's address, once ports are drawn."""
    return f"http://127.0.0.1:{record.s3_ports[seaweed.DOOR]}"


def mlflow_url(record: CloudRecord) -> str:
    """MLflow's address, once a port is drawn."""
    return f"http://127.0.0.1:{record.mlflow_port}"


def living(record: CloudRecord, role: str, found: Sequence[MarkedProcess]) -> psutil.Process | None:
    """The process of the server that the state names, if alive."""
    server = record.servers.get(role)
    return named(found, role, server.pid) if server else None


def bring_up(workspace: Workspace, roles: Sequence[str]) -> None:
    """Start those of the servers that aren't alive and wait until all work.

    Raises CloudError, DiskFullError, UnwritableError, after the servers that this call started have been ended.
    """
    workspace.end_strays(workspace.read())
    for attempt in range(TRIES):
        try:
            _try(workspace, roles)
            return
        except PortTakenError:
            if attempt == TRIES - 1:
                raise
        except OSError as error:
            raise from_os_error(error, workspace.folder) from error


def _try(workspace: Workspace, roles: Sequence[str]) -> None:
    record, found = workspace.read(), workspace.find()
    loses_address = not living(record, S3, found) and _lost(record.s3_ports.values())
    if loses_address and living(record, MLFLOW, found):  # MLflow was started with the address that is lost
        workspace.end(marked for marked in found if marked.role == MLFLOW)
        roles, found = (S3, MLFLOW), workspace.find()
    alive = {role: process for role in roles if (process := living(record, role, found)) is not None}
    record = _begin(workspace, record, roles, alive)
    servers = [_s3(workspace, record, S3 in alive) if role == S3 else _mlflow(workspace, record) for role in roles]
    _start_and_wait(workspace, servers, alive)


def _lost(ports: Collection[int]) -> bool:
    return not ports or any(map(is_taken, ports))


def _begin(workspace: Workspace, record: CloudRecord, roles: Sequence[str], alive: Collection[str]) -> CloudRecord:
    """Draw ports and write the state for the servers about to start, before any of them starts."""
    missing = [role for role in roles if role not in alive]
    if not missing:
        return record
    require_space(workspace.folder)
    changes: dict[str, object] = {}
    if S3 in missing and _lost(record.s3_ports.values()):
        changes["s3_ports"] = seaweed.draw()
    if MLFLOW in missing and (not record.mlflow_port or is_taken(record.mlflow_port)):
        changes["mlflow_port"] = draw_ports(1)[0]
    if MLFLOW in roles:
        changes["phase"] = CloudState.STARTING
    record = record.model_copy(update=changes)
    for role in missing:
        record = record.with_server(role, ServerRecord(started_at=now()))
    return workspace.write(record, "begun")


def _start_and_wait(workspace: Workspace, servers: Sequence[Server], alive: Mapping[str, psutil.Process]) -> None:
    record = workspace.read()
    ours: list[Started] = []
    waiting: list[Started] = []
    try:
        for server in servers:
            role = server.role
            if role in alive:
                waiting.append(Started(server, alive[role], workspace.log(role), 0))
                continue
            workspace.show(f"Starting {server.title}.")
            ours.append(start(workspace, server))
            workspace.step(f"{role} spawned")
            known = record.servers[role].model_copy(update={"pid": ours[-1].process.pid})
            record = workspace.write(record.with_server(role, known), f"{role} written")
        for started in [*waiting, *ours]:
            role = started.server.role
            wait(workspace, started)
            ready = record.servers[role].model_copy(update={"phase": CloudState.RUNNING})
            if ready != record.servers[role]:
                record = workspace.write(record.with_server(role, ready), f"{role} ready")
    except BaseException:
        for started in ours:
            # S3 takes 17 s if asked, and its data is on the disk already.
            end([started.process], 0 if started.server.role == S3 else GRACE_S)
            record = record.with_server(started.server.role, None)
        phase = record.phase if MLFLOW in record.servers else CloudState.ABSENT
        workspace.write(record.model_copy(update={"phase": phase}))
        raise


def _s3(workspace: Workspace, record: CloudRecord, is_alive: bool) -> Server:
    program, folder = seaweed.find_program(), workspace.folder / S3
    identity = seaweed.read_identity(folder) or seaweed.new_identity("local")
    if not is_alive:
        seaweed.configure(folder, [identity])
    return Server(
        role=S3,
        title="S3",
        command=seaweed.command(program, record.s3_ports),
        folder=folder,
        environ=plain_environ(),
        ports=list(record.s3_ports.values()),
        probe=probe_of(s3_url(record), storage_environ(workspace.folder, s3_url(record), identity)),
    )


def _mlflow(workspace: Workspace, record: CloudRecord) -> Server:
    identity = seaweed.read_identity(workspace.folder / S3)
    if identity is None:
        raise CloudError(f"{workspace.folder / S3} holds no keys for the store; run `{workspace.command('up')}` again.")
    folder = workspace.folder / MLFLOW
    temporary = folder / "tmp"  # MLflow's lock files in /tmp would be shared with other users
    temporary.mkdir(parents=True, exist_ok=True)
    arguments = ["--port", str(record.mlflow_port)]
    store = storage_environ(workspace.folder, s3_url(record), identity)
    return Server(
        role=MLFLOW,
        title="MLflow",
        command=[sys.executable, "-m", "wms_ops.machine.mlflow_server", *arguments],
        folder=folder,
        environ={**plain_environ(), **store, **server_environ(ARTIFACTS_URL), "TMPDIR": str(temporary)},
        ports=[record.mlflow_port],
        probe=probe_mlflow(mlflow_url(record)),
    )


def stop(workspace: Workspace, keep: Collection[str]) -> None:
    """End all processes but those in the roles `keep`. Raises CloudError if a process or a port of them is left.

    A damaged state is dropped if `keep` is empty, else an error.
    """
    try:
        record = workspace.read()
    except CloudError:
        if keep:
            raise
        record = CloudRecord()
    record = workspace.write(record.model_copy(update={"phase": CloudState.STOPPING}), "stopping")
    ending = [marked for marked in workspace.find() if marked.role not in keep]
    workspace.end(ending, _ports(record, ending))
    workspace.step("ended")
    # A second look: the first may miss a process that was just starting.
    workspace.end(marked for marked in workspace.find() if marked.role not in keep)
    if S3 not in keep:
        seaweed.remove_sockets(record.s3_ports.values())
    shutil.rmtree(workspace.releases, ignore_errors=True)
    kept = {role: server for role, server in record.servers.items() if role in keep}
    workspace.write(CloudRecord(s3_ports=record.s3_ports, mlflow_port=record.mlflow_port, servers=kept), "stopped")


def _ports(record: CloudRecord, ending: Sequence[MarkedProcess]) -> list[int]:
    """The ports of those processes; the port of a process that died earlier may belong to another program by now."""
    roles = {marked.role for marked in ending}
    ports = list(record.s3_ports.values()) if S3 in roles else []
    ports += [record.mlflow_port] if MLFLOW in roles else []
    releases = [release for release in (record.current, record.coming) if release is not None]
    return ports + [release.port for release in releases if named(ending, SERVICE, release.pid)]
