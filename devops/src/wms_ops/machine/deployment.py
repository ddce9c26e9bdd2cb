"""Which release is served: a new one takes over only once it's healthy, and the release before can come back.

The caller holds the cloud's lock. After a kill at any step the state names the served release, and the next call ends
the rest.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from wms.errors import UnwritableError, from_os_error
from wms.files import sha256_file, write_atomic
from wms.links import refuse_links
from wms.registry.ledger import CURRENT, HISTORY
from wms.registry.lineage import DOCUMENTS, FILES, WEIGHTS
from wms.registry.shipped import ANCHOR
from wms_ops.base.errors import CloudError
from wms_ops.machine.answers import NoAnswerError, ask
from wms_ops.machine.environment import plain_environ
from wms_ops.machine.processes import MarkedProcess, draw_ports, end, now
from wms_ops.machine.record import CloudRecord, Served
from wms_ops.machine.servers import PortTakenError, Server, Started, start, wait
from wms_ops.machine.types import ModelRelease
from wms_ops.machine.workspace import GRACE_S, SERVICE, Workspace

TRIES: Final = 3


def url_of(served: Served) -> str:
    """The base address of a served release."""
    return f"http://127.0.0.1:{served.port}"


def deploy(workspace: Workspace, release: ModelRelease) -> str:
    """Serve a release and return its address; a release that is served already stays untouched. Raises CloudError."""
    record = workspace.read()
    wanted = Served(version=release.version, weights_sha256=release.weights_sha256, port=0, started_at=now())
    current = record.current
    same = current is not None and current.is_release_of(wanted)
    if current is not None and same and _works(workspace, current):
        workspace.show(f"Version {wanted.version} is served already at {url_of(current)}.")
        return url_of(current)
    _copy_files(workspace, release, workspace.releases / wanted.name)
    return url_of(_serve(workspace, record, wanted, record.before if same else current))


def roll_back(workspace: Workspace) -> int | None:
    """Serve the release from before the newest deployment; a second call changes nothing. Raises CloudError."""
    record = workspace.read()
    current, target = record.current, record.before
    if target is None:
        if current is not None:
            workspace.show(f"Nothing was served before version {current.version}; stopping it.")
            _end(workspace, current)
            workspace.write(record.model_copy(update={"current": None}), "nothing served")
        return None
    if current is None or not current.is_release_of(target) or not _works(workspace, current):
        _serve(workspace, record, target.model_copy(update={"started_at": now()}), target)
    return target.version


def _serve(workspace: Workspace, record: CloudRecord, wanted: Served, before: Served | None) -> Served:
    """Start `wanted` beside the current release, and switch once `wanted` is healthy."""
    for attempt in range(TRIES):  # between the draw and the start another program may take the port
        coming = wanted.model_copy(update={"port": draw_ports(1)[0], "pid": 0})
        try:
            coming = _start(workspace, record, coming)
            break
        except PortTakenError:
            if attempt == TRIES - 1:
                raise
    old = record.current
    after = record.model_copy(update={"current": coming, "before": before, "coming": None})
    record = workspace.write(after, "switched")
    workspace.show(f"Version {coming.version} is served at {url_of(coming)}.")
    if old is not None:
        _end(workspace, old)
        workspace.step("old ended")
    _tidy(workspace, record)
    return coming


def _start(workspace: Workspace, record: CloudRecord, coming: Served) -> Served:
    """Start a process for a release; returns the release healthy, or leaves nothing of it running."""
    workspace.write(record.model_copy(update={"coming": coming}), "coming written")
    started: Started | None = None
    try:
        started = start(workspace, _server(workspace, coming))
        workspace.step("service spawned")
        coming = coming.model_copy(update={"pid": started.process.pid})
        workspace.write(record.model_copy(update={"coming": coming}), "service written")
        wait(workspace, started)
        workspace.step("service healthy")
    except BaseException as error:
        end([started.process] if started else [], GRACE_S)
        workspace.write(record)  # the state from before: the old release was never stopped
        _tidy(workspace, record)
        if type(error) is CloudError:
            now_served = f"version {record.current.version} is served on" if record.current else "nothing is served"
            raise CloudError(f"Version {coming.version} can't be served; {now_served}. {error}") from error
        raise
    return coming


def _server(workspace: Workspace, served: Served) -> Server:
    arguments = ["--model", ".", "--ledger", ".", "--host", "127.0.0.1", "--port", str(served.port)]
    return Server(
        role=SERVICE,
        title=f"the service of version {served.version}",
        command=[sys.executable, "-m", "wms.serving.cli", *arguments],
        folder=workspace.releases / served.name,
        environ=plain_environ(),
        ports=[served.port],
        probe=_probe_of(served),
    )


def _probe_of(served: Served) -> Callable[[], str | None]:
    def probe() -> str | None:
        try:
            status, said = ask(f"{url_of(served)}/health")
            if status == 503:
                raise CloudError(_field(said, "reason") or "The service isn't healthy and doesn't say why.")
            if status == 200:
                status, said = ask(f"{url_of(served)}/version")
        except NoAnswerError as error:
            return str(error)
        if status != 200:
            return f"HTTP {status}"
        version, weights = _field(said, "version"), _field(said, "weights_sha256")
        if (version, weights) != (str(served.version), served.weights_sha256):
            raise CloudError(
                f"The service says that it's version {version or '?'} with the weights {weights[:12] or '?'}..., not "
                f"version {served.version} with {served.weights_sha256[:12]}...; hand over the files of that version."
            )
        return None

    return probe


def _field(value: object, name: str) -> str:
    return str(value.get(name, "")) if isinstance(value, dict) else ""


def _works(workspace: Workspace, served: Served) -> bool:
    if workspace.living(SERVICE, served.pid) is None:
        return False
    try:
        return _probe_of(served)() is None
    except CloudError:
        return False


def _end(workspace: Workspace, served: Served) -> None:
    process = workspace.living(SERVICE, served.pid)
    if process is not None:
        workspace.end([MarkedProcess(SERVICE, process)], [served.port])


def _copy_files(workspace: Workspace, release: ModelRelease, target: Path) -> None:
    """Copy a release's files, all or none; the ledger's files may have grown since the last copy."""
    refuse_links(target.parent, workspace.folder)
    sources = {name: release.model / name for name in (*FILES, *DOCUMENTS, ANCHOR)} | {
        n: release.ledger / n for n in (HISTORY, CURRENT)
    }
    present = {name: path for name, path in sources.items() if path.is_file()}
    if WEIGHTS not in present:
        raise CloudError(f"{release.model} holds no {WEIGHTS}; bring it with `wms sync`.")
    staging = target.with_name(f".{target.name}.new")
    try:
        found = sha256_file(present[WEIGHTS])
        if found != release.weights_sha256:
            raise CloudError(
                f"{present[WEIGHTS]} has the SHA-256 {found[:12]}..., but version {release.version} has "
                f"{release.weights_sha256[:12]}...; bring it with `wms sync --force`."
            )
        if target.is_dir():
            for name, path in present.items():
                write_atomic(target / name, path.read_bytes())
        else:
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir(parents=True)
            for name, path in present.items():
                shutil.copyfile(path, staging / name)
            workspace.step("staged")
            staging.rename(target)
    except OSError as error:
        raise from_os_error(error, target) from error
    workspace.step("placed")


def _tidy(workspace: Workspace, record: CloudRecord) -> None:
    """Remove the files of releases that are neither current nor the one before."""
    kept = {served.name for served in (record.current, record.before) if served is not None}
    with contextlib.suppress(OSError, UnwritableError):  # left-over files cost space only
        refuse_links(workspace.releases, workspace.folder)
        for path in workspace.releases.iterdir():
            if path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)
