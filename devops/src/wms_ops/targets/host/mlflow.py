"""MLflow on an instance: process, accepted addresses, and health."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from wms_ops.machine.answers import probe_mlflow
from wms_ops.machine.environment import plain_environ
from wms_ops.machine.mlflow_server import DATABASE, server_environ
from wms_ops.machine.password import OWN_USER
from wms_ops.machine.servers import Server
from wms_ops.machine.workspace import MLFLOW, Workspace
from wms_ops.targets.host.config import HostConfig

_LOCAL: Final = ("localhost", "127.0.0.1")


def database_of(workspace: Workspace) -> Path:
    """The path of MLflow's database."""
    return workspace.folder / MLFLOW / DATABASE


def own_headers(password: str) -> dict[str, str]:
    """The headers of the instance's own requests to MLflow."""
    encoded = base64.b64encode(f"{OWN_USER}:{password}".encode()).decode()
    return {"Authorization": f"Basic {encoded}"}


def server_of(workspace: Workspace, config: HostConfig, password: str, bind: str, address: str | None) -> Server:
    """The definition of MLflow's process, which reads the password from SSM itself. `address` is the public IP."""
    folder = workspace.folder / MLFLOW
    temporary = folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    arguments = ["--host", bind, "--port", str(config.mlflow_port), "--password-parameter", config.password_parameter]
    return Server(
        role=MLFLOW,
        title="MLflow",
        command=[sys.executable, "-m", "wms_ops.machine.mlflow_server", *arguments],
        folder=folder,
        environ={
            **plain_environ(),
            **aws_environ(config.region),
            **server_environ(f"s3://{config.mlflow_bucket}/mlflow"),
            **doors(address, config.mlflow_port),
            "TMPDIR": str(temporary),
        },
        ports=[config.mlflow_port],
        probe=probe_mlflow(url_of(config), own_headers(password)),
    )


def url_of(config: HostConfig) -> str:
    """MLflow's address on the instance itself."""
    return f"http://127.0.0.1:{config.mlflow_port}"


def doors(address: str | None, port: int) -> dict[str, str]:
    """MLflow's variables for the accepted Host and Origin headers: this machine's, and the public address's."""
    hosts = [f"{host}{end}" for host in _LOCAL for end in ("", ":*")]
    found = {"MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(hosts)}
    if address is not None:
        found["MLFLOW_SERVER_ALLOWED_HOSTS"] = ",".join([*hosts, address, f"{address}:{port}"])
        found["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] = (
            f"http://{address}:{port}"  # MLflow's own pages post with an Origin
        )
    return found


def aws_environ(region: str) -> Mapping[str, str]:
    """This process's variables for AWS, with the instance's region."""
    known = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    return {**known, "AWS_REGION": region, "AWS_DEFAULT_REGION": region}
