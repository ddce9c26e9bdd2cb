"""Launches for the tests of the host: what `up` prepares in AWS, an instance with user data, and its mailbox."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import io
import json
import re
import ssl
import tarfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aws_server import REGION, AwsServer
from instance_shop import Hypervisor, Machine
from instance_stubs import K3S
from servers import free_port

from wms_ops.git.command import Git
from wms_ops.storage.bucket import Bucket
from wms_ops.targets.host.backup import Backups
from wms_ops.targets.host.message_queue import MessageQueue

HOUSE = Path(__file__).resolve().parents[2]
BUCKET = "wms-tests-mlflow"
PASSWORD = "a password: with ümlauts"  # noqa: S105
EXPERIMENTS = "/api/2.0/mlflow/experiments"

TEMPLATE = HOUSE / "infrastructure" / "terraform" / "instance" / "user-data.sh.tftpl"


def user_data(**values: object) -> str:
    """The instance's first script as Terraform's templatefile() makes it."""
    parts = TEMPLATE.read_text(encoding="utf-8").split("$${")
    return "${".join(re.sub(r"\$\{(\w+)\}", lambda found: str(values[found[1]]), part) for part in parts)


def bundle() -> bytes:
    """The code as an instance gets it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as archive:
        for name in Git(HOUSE).names("ls-files", "-z", "-co", "--exclude-standard", "--", *("WMS/src", "devops/src")):
            archive.add(HOUSE / name, name)
        archive.add(HOUSE / "infrastructure" / "bootstrap", "infrastructure/bootstrap")
        content = f"{hashlib.sha256(K3S.encode()).hexdigest()}  k3s\n".encode()
        member = tarfile.TarInfo("infrastructure/bootstrap/k3s.sha256")  # once more: the last entry of a name counts
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@dataclass(frozen=True)
class Launch:
    """One launched instance."""

    machine: Machine
    objects: Bucket
    environment: str
    launch_id: str
    mlflow_port: int
    service_port: int

    @property
    def queue(self) -> MessageQueue:
        """Quick."""
        return MessageQueue(self.objects, self.launch_id, poll_s=0.1, dead_s=5)

    @property
    def backups(self) -> Backups:
        """Of its environment, to be read."""
        return Backups(self.objects, self.environment, self.launch_id, Path("none"))

    def ask(
        self,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        login: str | None = f"wms:{PASSWORD}",
        **headers: str,
    ) -> tuple[int, Any]:
        """MLflow's answer: status and JSON value, else text. Headers' names have underscores."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if login is not None:
            given["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
        connection = http.client.HTTPSConnection("127.0.0.1", self.mlflow_port, timeout=30, context=self.trusting)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(
                "GET" if body is None else "POST", path, data, {"Content-Type": "application/json", **given}
            )
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text

    @property
    def trusting(self) -> ssl.SSLContext:
        """Accepts this instance's certificate, and no other."""
        both = (self.machine.folder / "var/lib/wms/door/mlflow.pem").read_text()
        return ssl.create_default_context(cadata=both.partition("-----BEGIN PRIVATE")[0])

    def experiments(self) -> set[str]:
        """The names of MLflow's experiments."""
        status, found = self.ask(f"{EXPERIMENTS}/search", {"max_results": 100})
        assert status == 200, found
        return {one["name"] for one in found["experiments"]}


class World:
    """An account with a bucket, a password and the code, whose instances a hypervisor boots."""

    def __init__(self, aws: AwsServer, hypervisor: Hypervisor) -> None:
        self.aws, self.hypervisor = aws, hypervisor
        aws.make_bucket(BUCKET)
        content = bundle()
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.key = f"bundle/{self.sha256}.tar.gz"
        aws.client("s3").put_object(Bucket=BUCKET, Key=self.key, Body=content)
        self.objects = Bucket(BUCKET, aws.client("s3"))

    def launch(
        self,
        environment: str = "",
        *,
        idle_minutes: float = 0,
        lifetime: timedelta = timedelta(hours=1),
        minutes: int = 60,
    ) -> Launch:
        """Start an instance; nothing waits for it."""
        environment = environment or f"t{uuid.uuid4().hex[:8]}"
        now = datetime.now(UTC)
        launch_id = f"{now:%Y%m%d-%H%M%S}-{now.microsecond:06x}"
        ports = free_port(), free_port()
        config = {
            "environment": environment,
            "region": REGION,
            "launch_id": launch_id,
            "deadline": (now + lifetime).isoformat(),
            "idle_minutes": idle_minutes,
            "mlflow_bucket": BUCKET,
            "dvc_bucket": "wms-tests-dvc",
            "mlflow_port": ports[0],
            "service_port": ports[1],
            "mlflow_role": f"wms-{environment}-{REGION}-mlflow",
        }
        self.aws.client("ssm").put_parameter(
            Name=f"/wms/{environment}/mlflow-password", Value=PASSWORD, Type="SecureString", Overwrite=True
        )
        script = user_data(
            lifetime_minutes=minutes,
            region=REGION,
            host_json=json.dumps(config),
            bundle_uri=f"s3://{BUCKET}/{self.key}",
            bundle_sha256=self.sha256,
        )
        instance_id = self.aws.client("ec2").run_instances(
            ImageId="ami-12c6146b",
            MinCount=1,
            MaxCount=1,
            UserData=script,
            InstanceInitiatedShutdownBehavior="terminate",
        )["Instances"][0]["InstanceId"]
        machine = self.hypervisor.machine(instance_id)  # it boots by now
        return Launch(machine, self.objects, environment, launch_id, *ports)

    @contextlib.contextmanager
    def prepared(self, name: str) -> Iterator[None]:
        """Instances launched meanwhile have this file on their disks, by which the stubs know what goes wrong."""
        self.hypervisor.before_boot = lambda machine: (machine.folder / name).touch()
        try:
            yield
        finally:
            self.hypervisor.before_boot = lambda _: None

    def boot(self, launch: Launch) -> dict[str, Any]:
        """The boot report's steps by name, if they are this launch's."""
        ssm = self.aws.client("ssm")
        try:
            value = ssm.get_parameter(Name=f"/wms/{launch.environment}/boot")["Parameter"]["Value"]
        except ssm.exceptions.ParameterNotFound:
            return {}
        report = json.loads(value)
        return {one["step"]: one for one in report["steps"]} if report["launch_id"] == launch.launch_id else {}

    def until_up(self, launch: Launch) -> Launch:
        """Wait until MLflow has started."""

        def is_up() -> bool:
            alive = launch.queue.alive()
            return alive is not None and alive.phase == "running"

        self.hypervisor.wait(is_up, "MLflow's start")
        return launch

    def state(self, launch: Launch) -> str:
        """The instance's state, as EC2 has it."""
        found = self.aws.client("ec2").describe_instances(InstanceIds=[launch.machine.id])
        return found["Reservations"][0]["Instances"][0]["State"]["Name"]

    def terminate(self, launch: Launch) -> None:
        """End an instance, as `down` does, and wait until its machine is off."""
        self.aws.client("ec2").terminate_instances(InstanceIds=[launch.machine.id])
        self.until_off(launch)

    def until_off(self, launch: Launch) -> None:
        """Wait until EC2 has ended an instance and nothing of it runs."""
        self.hypervisor.wait(lambda: self.state(launch) == "terminated", "the instance's end")
        self.hypervisor.wait(lambda: launch.machine.ended.is_set() and not launch.machine.processes(), "its silence")
