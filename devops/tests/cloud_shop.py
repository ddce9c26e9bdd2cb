"""A local cloud for tests: commands on it in processes of their own, which can be killed at a step, and releases."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3_server import require_tool
from sync_shop import make_run, promote

from wms_ops.machine.processes import is_taken
from wms_ops.machine.record import CloudRecord
from wms_ops.machine.types import ModelRelease
from wms_ops.targets.local import LocalCloud

ACT = """
import json, os, signal, sys
from pathlib import Path
from wms.errors import run_main
from wms_ops.targets.local import LocalCloud
from wms_ops.machine.types import ModelRelease
folder, kill_at, method, *rest = sys.argv[1:]
def step(name):
    if name == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
def main(_):
    cloud = LocalCloud(Path(folder), print, step)
    if method == "deploy":
        version, weights, model, ledger = rest
        cloud.deploy(ModelRelease(int(version), weights, Path(model), Path(ledger)))
    elif method == "run":
        return cloud.run(rest, folder=Path.cwd(), log=Path(folder) / "run.log", show=print)
    else:
        getattr(cloud, method)()
    return 0
sys.exit(run_main(main))
"""


def begin(cloud: LocalCloud, method: str, *rest: str, kill_at: str = "") -> subprocess.Popen[str]:
    """Start a process that calls a method of the cloud."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", ACT, str(cloud.folder), kill_at, method, *rest]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True, env=environ)


def kill_at(cloud: LocalCloud, step: str, method: str, *rest: str) -> None:
    """Call a method in a process that is killed, without any chance to tidy up, right after a step."""
    process = begin(cloud, method, *rest, kill_at=step)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, f"{step}: {process.returncode}: {said}"


def eventually(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)  # a poll's pause


def roles(cloud: LocalCloud) -> list[str]:
    """Roles of the cloud's living processes."""
    return sorted(one.role.split(" ")[0] for one in cloud.workspace.find())


def ports(record: CloudRecord) -> list[int]:
    """All ports that a state names."""
    served = [one.port for one in (record.current, record.coming) if one is not None]
    return [*record.s3_ports.values(), record.mlflow_port, *served]


def close_and_check(cloud: LocalCloud) -> None:
    """Close a cloud; nothing of it is left."""
    taken = ports(cloud.workspace.read())
    cloud.close()
    assert roles(cloud) == []
    assert not [port for port in taken if is_taken(port)]


@contextlib.contextmanager
def listening(port: int) -> Iterator[None]:
    """Somebody else has this port of loopback."""
    with socket.create_server(("127.0.0.1", port)):
        yield


def ask(url: str, body: dict[str, Any] | None = None) -> Any:
    """The JSON answer of a GET, or of a POST with a body."""
    data = None if body is None else json.dumps(body).encode()
    return json.loads(fetch(url, data=data, headers={"Content-Type": "application/json"}))


def fetch(url: str, **more: Any) -> bytes:
    """The body of an answer; `more` goes into the request."""
    with urllib.request.urlopen(urllib.request.Request(url, **more), timeout=30) as answer:  # noqa: S310
        return answer.read()


def new_cloud(folder: Path) -> LocalCloud:
    """A cloud that was never started, in a folder whose name isn't simple."""
    require_tool("weed")
    return LocalCloud(folder / "a clöud, 100% ready?")


@dataclass(frozen=True)
class Models:
    """Two promoted models, versions 1 and 2, in one ledger."""

    one: ModelRelease
    two: ModelRelease

    @classmethod
    def make(cls, folder: Path) -> Models:
        runs = [make_run(folder, seed=number) for number in (1, 2)]
        ledger = folder / "ledger"
        entries = [promote(run, ledger, version) for version, run in enumerate(runs, start=1)]
        releases = [
            ModelRelease(entry.to_version, entry.weights_sha256, run / "artifacts" / "model", ledger)
            for entry, run in zip(entries, runs, strict=True)
        ]
        return cls(*releases)


def arguments(release: ModelRelease) -> list[str]:
    """A release for `begin`."""
    return [str(release.version), release.weights_sha256, str(release.model), str(release.ledger)]
