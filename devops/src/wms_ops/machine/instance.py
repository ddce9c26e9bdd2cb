"""Starting and ending S3 and MLflow: side by side, with ports that are free, and with a state for every moment.

The caller holds the cloud's lock.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import psutil

from wms.errors import from_os_error
from wms_ops.base.errors import CloudError
from wms_ops.machine import seaweed
from wms_ops.machine.environment import plain_environ, storage_environ
from wms_ops.machine.loopback import NoAnswerError, ask
from wms_ops.machine.mlflow_server import server_environ
from wms_ops.machine.processes import Found, draw_ports, end, is_taken, now
from wms_ops.machine.record import CloudRecord, ServerRecord
from wms_ops.machine.room import GRACE_S, MLFLOW, S3, SERVICE, Room
from wms_ops.machine.servers import PortTakenError, Server, Started, start, wait
from wms_ops.machine.storage import ARTIFACTS_URL, probe_of, require_space
from wms_ops.machine.types import CloudState

TRIES: Final = 3
ANY_CALL: Final = "/api/2.0/mlflow/experiments/search"


def s3_url(record: CloudRecord) -> str:
    """The S3 server's address, once it has ports."""
    return f"http://127.0.0.1:{record.s3_ports[seaweed.DOOR]}"


def mlflow_url(record: CloudRecord) -> str:
    """MLflow's address, once it has a port."""
    return f"http://127.0.0.1:{record.mlflow_port}"


def is_among(found: Sequence[Found], role: str, pid: int) -> bool:
    """Whether this process lives in this role; its number alone says little, since numbers are used again."""
    return pid > 0 and any((one.role, one.process.pid) == (role, pid) for one in found)


def living(record: CloudRecord, role: str, found: Sequence[Found]) -> psutil.Process | None:
    """The process of the server that the state names, if it lives."""
    server = record.servers.get(role)
    named = [one.process for one in found if server and (one.role, one.process.pid) == (role, server.pid)]
    return named[0] if named else None


def is_alive(record: CloudRecord, role: str, found: Sequence[Found]) -> bool:
    """Whether the server that the state names lives."""
    return living(record, role, found) is not None


def probe_mlflow(url: str, headers: Mapping[str, str] | None = None) -> Callable[[], str | None]:
    """A call of MLflow's API: its /health answers sooner and means less."""

    def probe() -> str | None:
        try:
            status, _ = ask(f"{url}{ANY_CALL}", {"max_results": 1}, headers)
        except NoAnswerError as error:
            return str(error)
        return None if status == 200 else f"HTTP {status}"

    return probe


def bring_up(room: Room, roles: Sequence[str]) -> None:
    """Start what isn't alive of these servers and wait until all of them work.

    Raises CloudError, DiskFullError, UnwritableError; what this call has started is ended then.
    """
    room.end_strays(room.read())
    for attempt in range(TRIES):
        try:
            _try(room, roles)
            return
        except PortTakenError:
            if attempt == TRIES - 1:
                raise
        except OSError as error:
            raise from_os_error(error, room.folder) from error


def _try(room: Room, roles: Sequence[str]) -> None:
    record, found = room.read(), room.find()
    loses_address = not is_alive(record, S3, found) and _lost(record.s3_ports.values())
    if loses_address and is_alive(record, MLFLOW, found):  # it knows the store by the address that is lost
        room.end(one for one in found if one.role == MLFLOW)
        roles, found = (S3, MLFLOW), room.find()
    alive = {role: process for role in roles if (process := living(record, role, found)) is not None}
    record = _begin(room, record, roles, alive)
    servers = [_s3(room, record, S3 in alive) if role == S3 else _mlflow(room, record) for role in roles]
    _start_and_wait(room, servers, alive)


def _lost(ports: Collection[int]) -> bool:
    return not ports or any(map(is_taken, ports))


def _begin(room: Room, record: CloudRecord, roles: Sequence[str], alive: Collection[str]) -> CloudRecord:
    """Ports and state for what is about to be started; written before anything is."""
    missing = [role for role in roles if role not in alive]
    if not missing:
        return record
    require_space(room.folder)
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
    return room.write(record, "begun")


def _start_and_wait(room: Room, servers: Sequence[Server], alive: Mapping[str, psutil.Process]) -> None:
    record = room.read()
    ours: list[Started] = []
    waiting: list[Started] = []
    try:
        for server in servers:
            role = server.role
            if role in alive:
                waiting.append(Started(server, alive[role], room.log(role), 0))
                continue
            room.show(f"Starting {server.title}.")
            ours.append(start(room, server))
            room.step(f"{role} spawned")
            known = record.servers[role].model_copy(update={"pid": ours[-1].process.pid})
            record = room.write(record.with_server(role, known), f"{role} written")
        for started in [*waiting, *ours]:
            role = started.server.role
            wait(room, started)
            ready = record.servers[role].model_copy(update={"phase": CloudState.RUNNING})
            if ready != record.servers[role]:
                record = room.write(record.with_server(role, ready), f"{role} ready")
    except BaseException:
        for one in ours:
            end([one.process], 0 if one.server.role == S3 else GRACE_S)
            record = record.with_server(one.server.role, None)
        phase = record.phase if MLFLOW in record.servers else CloudState.ABSENT
        room.write(record.model_copy(update={"phase": phase}))
        raise


def _s3(room: Room, record: CloudRecord, is_alive: bool) -> Server:
    program, folder = seaweed.find_program(), room.folder / S3
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
        probe=probe_of(s3_url(record), storage_environ(room.folder, s3_url(record), identity)),
    )


def _mlflow(room: Room, record: CloudRecord) -> Server:
    identity = seaweed.read_identity(room.folder / S3)
    if identity is None:
        raise CloudError(f"{room.folder / S3} holds no keys for the store; run `{room.command('up')}` again.")
    folder = room.folder / MLFLOW
    temporary = folder / "tmp"  # MLflow's lock files in /tmp would be shared with other users
    temporary.mkdir(parents=True, exist_ok=True)
    arguments = ["--port", str(record.mlflow_port)]
    store = storage_environ(room.folder, s3_url(record), identity)
    return Server(
        role=MLFLOW,
        title="MLflow",
        command=[sys.executable, "-m", "wms_ops.machine.mlflow_server", *arguments],
        folder=folder,
        environ={**plain_environ(), **store, **server_environ(ARTIFACTS_URL), "TMPDIR": str(temporary)},
        ports=[record.mlflow_port],
        probe=probe_mlflow(mlflow_url(record)),
    )


def stop(room: Room, keep: Collection[str]) -> None:
    """End all processes but those in the roles `keep`. Raises CloudError if a process or a port of them is left.

    A damaged state is forgotten where nothing is kept, an error elsewhere.
    """
    try:
        record = room.read()
    except CloudError:
        if keep:
            raise
        record = CloudRecord()
    record = room.write(record.model_copy(update={"phase": CloudState.STOPPING}), "stopping")
    ending = [one for one in room.find() if one.role not in keep]
    room.end(ending, _ports(record, ending))
    room.step("ended")
    room.end(one for one in room.find() if one.role not in keep)  # what was just being born
    if S3 not in keep:
        seaweed.remove_sockets(record.s3_ports.values())
    shutil.rmtree(room.releases, ignore_errors=True)
    kept = {role: one for role, one in record.servers.items() if role in keep}
    room.write(CloudRecord(s3_ports=record.s3_ports, mlflow_port=record.mlflow_port, servers=kept), "stopped")


def _ports(record: CloudRecord, ending: Sequence[Found]) -> list[int]:
    """The ports of those processes; where one died earlier, somebody else may rightly have its port by now."""
    roles = {one.role for one in ending}
    ports = list(record.s3_ports.values()) if S3 in roles else []
    ports += [record.mlflow_port] if MLFLOW in roles else []
    served = [one for one in (record.current, record.coming) if one is not None]
    return ports + [one.port for one in served if is_among(ending, SERVICE, one.pid)]
