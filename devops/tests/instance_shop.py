"""Instances for tests: whatever runs in moto's EC2 is booted on this machine, with its real user data and agent.

Each instance has a folder that stands for its disk (WMS_PREFIX). What a shutdown, a termination or a power cut does to
a real one is done to its processes.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
from aws_server import AwsServer
from instance_stubs import write_stubs
from servers import require_tool
from unit_sandbox import UIDS

from wms.paths import ROOT
from wms_ops.machine.processes import MARK, ROLE, lives
from wms_ops.targets.host.config import PACE

_NAMES = ("haproxy", "wms-mlflow")
USERS = {name: 64321 + number if os.geteuid() == 0 else os.geteuid() for number, name in enumerate(_NAMES)}
"""The numbers of the users that bootstrap.sh makes on a real machine."""

QUICK: Mapping[str, Any] = {
    **{"poll_s": 0.4, "alive_s": 0.5, "backup_s": 1.0, "margin_s": 2.0, "bind": "127.0.0.1"},
    **{"door_user": USERS["haproxy"], "mlflow_user": USERS["wms-mlflow"]},
}
"""How fast an agent turns in tests; `minute_s` is added."""

_LOOK_S = 0.4
_STOP_S = 60.0
_OURS = ("AWS_", "MLFLOW_", "GIT_", "DVC_", "WMS_")


@dataclass
class Machine:
    """One booted instance: its id, its disk, and where its life stands."""

    id: str
    folder: Path
    address: str
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def config(self) -> dict[str, Any]:
        """host.json, once user data has written it."""
        return json.loads((self.folder / "etc/wms/host.json").read_text())

    def log(self, name: str = "console") -> str:
        """What the user data said ("console"), or a unit of systemd, such as "wms-host"."""
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def processes(self) -> list[psutil.Process]:
        """Everything that runs on it."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get("WMS_MACHINE") == self.id and lives(process):
                    found.append(process)
        return found

    def agent(self) -> psutil.Process | None:
        """The host agent's process."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if "wms_ops.targets.host" in process.cmdline():
                    return process
        return None

    def cut_power(self) -> None:
        """Everything on it ends at once, without a word."""
        deadline = time.monotonic() + _STOP_S
        while left := self.processes():  # what is just being born is found the next time
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(left, timeout=5)
            assert time.monotonic() < deadline, f"{left} can't be killed"
        self.ended.set()

    def shut_down(self) -> None:
        """As the operating system does: units are stopped, then everything else is killed."""
        stopping = []
        for path in self.folder.glob("*.pid"):
            with contextlib.suppress(psutil.Error, ValueError):
                stopping.append(psutil.Process(int(path.read_text())))
                stopping[-1].send_signal(signal.SIGTERM)
        psutil.wait_procs(stopping, timeout=_STOP_S)
        self.cut_power()


class Hypervisor:
    """Boots what runs in moto's EC2 and ends what doesn't run there any more; at its end nothing is left.

    `seconds_per_minute`: how long a minute of `shutdown -h +N` and of idle_minutes takes. `pace` changes the agents'.
    """

    def __init__(
        self,
        aws: AwsServer,
        folder: Path,
        seconds_per_minute: float = 60.0,
        pace: Mapping[str, Any] | None = None,
    ) -> None:
        self.aws, self.folder, self.minute_s = aws, folder, seconds_per_minute
        self.pace = {**QUICK, "minute_s": seconds_per_minute, **(pace or {})}
        self.machines: dict[str, Machine] = {}
        self.before_boot: Callable[[Machine], None] = lambda _: None
        self._ec2 = aws.client("ec2")
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._problems: list[BaseException] = []
        require_tool("haproxy", Path("/usr/sbin/haproxy"))
        self._metadata = ThreadingHTTPServer(("127.0.0.1", 0), _metadata_handler(self.machines))
        self._metadata.daemon_threads = True

    def __enter__(self) -> Self:
        self._spawn(self._metadata.serve_forever)
        self._spawn(self._watch)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._metadata.shutdown()
        self._metadata.server_close()
        for thread in list(self._threads):
            thread.join(_STOP_S + 30)
        for machine in self.machines.values():
            machine.cut_power()
        if kind is None and self._problems:
            raise self._problems[0]

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = 90.0) -> Any:
        """Wait until a condition holds and return its value; what all machines said is shown otherwise."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            if time.monotonic() >= deadline or self._problems:
                said = [
                    f"{one.id} {name}: {one.log(name)[-3000:]}"
                    for one in self.machines.values()
                    for name in ("console", "wms-host", "wms-door", "wms-mlflow")
                ]
                raise AssertionError(f"{what} never came. {self._problems}\n" + "\n".join(said))
            time.sleep(0.15)  # a poll's pause; each look costs the emulated AWS ten milliseconds
        return value

    def machine(self, instance_id: str) -> Machine:
        """An instance's machine, once it's booting."""
        return self.wait(lambda: self.machines.get(instance_id), f"the boot of {instance_id}")

    def _spawn(self, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _watch(self) -> None:
        while not self._closing.wait(_LOOK_S):
            try:
                running = dict(self._running())
                for instance_id, address in running.items():
                    if instance_id not in self.machines:
                        self._boot(instance_id, address)
                for machine in self.machines.values():
                    if machine.id not in running and not machine.ended.is_set():
                        machine.ended.set()
                        self._spawn(machine.shut_down)
            except Exception as error:
                self._problems.append(error)
                return

    def _running(self) -> Iterator[tuple[str, str]]:
        for page in self._ec2.get_paginator("describe_instances").paginate():
            for reservation in page["Reservations"]:
                for one in reservation["Instances"]:
                    if one["State"]["Name"] == "running":
                        yield one["InstanceId"], one.get("PublicIpAddress", "")

    def _boot(self, instance_id: str, address: str) -> None:
        machine = Machine(instance_id, self.folder / instance_id, address)
        write_stubs(machine.folder / "bin")
        answer = self._ec2.describe_instance_attribute(InstanceId=instance_id, Attribute="userData")
        script = base64.b64decode(answer.get("UserData", {}).get("Value", ""))
        path = machine.folder / "user-data"
        path.write_bytes(gzip.decompress(script) if script.startswith(b"\x1f\x8b") else script)
        self.before_boot(machine)
        self.machines[instance_id] = machine
        with (machine.folder / "console.log").open("ab") as console:
            process = subprocess.Popen(
                ["/bin/bash", str(path)],
                cwd=machine.folder,
                env=self._environ(machine),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        self._spawn(process.wait)

    def _environ(self, machine: Machine) -> dict[str, str]:
        left_out = (MARK, ROLE, "PYTHONPATH")
        own = {n: v for n, v in os.environ.items() if not n.startswith(_OURS) and n not in left_out}
        return {
            **own,
            **self.aws.environ,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{self._metadata.server_port}/{machine.id}",
            "HOME": str(machine.folder),
            "PATH": f"{machine.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "WMS_PREFIX": str(machine.folder),
            "WMS_HOUSE": str(ROOT),
            UIDS: json.dumps(USERS),
            "WMS_MACHINE": machine.id,
            "WMS_HYPERVISOR": str(os.getpid()),
            "WMS_MINUTE_S": str(self.minute_s),
            PACE: json.dumps(self.pace),
        }


def _metadata_handler(machines: Mapping[str, Machine]) -> type[BaseHTTPRequestHandler]:
    """The instances' metadata service, version 2 only: /ID/latest/..."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def do_PUT(self) -> None:
            is_right = self.path.endswith("/latest/api/token") and self.headers.get(
                "X-aws-ec2-metadata-token-ttl-seconds"
            )
            self._answer(200, "a-token") if is_right else self._answer(400, "")

        def do_GET(self) -> None:
            instance_id, _, rest = self.path.lstrip("/").partition("/")
            if self.headers.get("X-aws-ec2-metadata-token") != "a-token":
                self._answer(401, "")
            elif rest == "latest/meta-data/public-ipv4" and instance_id in machines:
                self._answer(200, machines[instance_id].address)
            else:
                self._answer(404, "")

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
