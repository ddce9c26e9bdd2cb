"""MLflow on an instance: a unit and a user of its own, its variables, accepted addresses, and health."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from wms.loopback import past_proxies
from wms_ops.base.errors import CloudError
from wms_ops.base.poll import poll
from wms_ops.machine.answers import probe_mlflow
from wms_ops.machine.mlflow_server import DATABASE, server_environ
from wms_ops.machine.password import OWN_USER
from wms_ops.machine.servers import START_S
from wms_ops.targets.host.config import HostConfig
from wms_ops.targets.host.units import User, control, own_folder, show_file, shown_folder

UNIT: Final = "wms-mlflow"
PORT: Final = "MLFLOW_PORT"
_LOCAL: Final = ("localhost", "127.0.0.1")
_REPORT_S: Final = 10.0


def folder_of(state: Path) -> Path:
    """The folder that MLflow's user alone writes to."""
    return state / "mlflow"


def access_of(state: Path) -> Path:
    """The folder of what MLflow is told, which its user reads only."""
    return state / "access"


def database_of(state: Path) -> Path:
    """The path of MLflow's database."""
    return folder_of(state) / DATABASE


def own_headers(password: str) -> dict[str, str]:
    """The headers of the instance's own requests to MLflow."""
    encoded = base64.b64encode(f"{OWN_USER}:{password}".encode()).decode()
    return {"Authorization": f"Basic {encoded}"}


def prepare(state: Path, user: User) -> None:
    """Make both folders."""
    own_folder(folder_of(state), user)
    own_folder(folder_of(state) / "tmp", user)
    shown_folder(access_of(state), user)


def begin(state: Path, user: User, environ: Mapping[str, str], password: str) -> None:
    """Start MLflow's unit with these variables, and don't wait for it. Raises CloudError."""
    folder = folder_of(state)
    given = {**environ, "HOME": str(folder), "TMPDIR": str(folder / "tmp"), "PYTHONUNBUFFERED": "1"}
    lines = [f'{name}="{value}"\n' for name, value in given.items()]
    show_file(access_of(state) / "mlflow.env", "".join(lines), user)
    # MLflow needs to recognise the password only. It is random, so that a plain hash can't be turned back.
    show_file(access_of(state) / "password.sha256", hashlib.sha256(password.encode()).hexdigest(), user)
    control("restart", UNIT)


def wait(port: int, password: str, show: Callable[[str], None], limit_s: float = START_S) -> None:
    """Return once MLflow answers. Raises CloudError."""

    def waiting(reason: str | None, seconds: float) -> None:
        show(f"Waiting for MLflow: {seconds:.0f} of at most {limit_s:.0f} s ({reason}).")

    probe = probe_mlflow(url_of(port), own_headers(password))
    reason = poll(probe, limit_s, until=lambda why: why is None, waiting=waiting, every_s=_REPORT_S)
    if reason is not None:
        raise CloudError(f"MLflow doesn't answer after {limit_s:.0f} s ({reason}); look at `journalctl -u {UNIT}`.")


def environ_of(config: HostConfig, port: int, keys: Mapping[str, str], address: str | None) -> dict[str, str]:
    """The variables of MLflow's unit; `keys` lead to its own credentials, and `address` is the public IP."""
    endpoints = {name: value for name, value in os.environ.items() if name.startswith("AWS_ENDPOINT_URL")}
    return {
        **endpoints,
        **past_proxies(os.environ),
        **keys,
        **server_environ(f"s3://{config.mlflow_bucket}/mlflow"),
        **doors(address, config.mlflow_port),
        PORT: str(port),
    }


def url_of(port: int) -> str:
    """MLflow's address on the instance itself, behind the door."""
    return f"http://127.0.0.1:{port}"


def doors(address: str | None, port: int) -> dict[str, str]:
    """MLflow's variables for the accepted Host and Origin headers: this machine's, and the public address's."""
    hosts = [f"{host}{end}" for host in _LOCAL for end in ("", ":*")]
    found = {"MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(hosts)}
    if address is not None:
        found["MLFLOW_SERVER_ALLOWED_HOSTS"] = ",".join([*hosts, address, f"{address}:{port}"])
        found["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] = (
            f"https://{address}:{port}"  # MLflow's own pages post with an Origin
        )
    return found


def aws_environ(region: str) -> Mapping[str, str]:
    """This process's variables for AWS, with the instance's region."""
    known = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    return {**known, "AWS_REGION": region, "AWS_DEFAULT_REGION": region}
