"""Variables of the environment: those that lead to the local cloud, and those that a process there starts from."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import wms
import wms_ops
from wms.files import write_atomic
from wms_ops.machine.processes import MARK, ROLE
from wms_ops.machine.seaweed import Identity

REGION: Final = "us-east-1"
_AWS_CONFIG: Final = f"[default]\nregion = {REGION}\n"
_LOOPBACK: Final = ("127.0.0.1", "localhost")
_OTHERS: Final = ("AWS_", "MLFLOW_", "_MLFLOW_", "DVC_")

QUIET: Final = {
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
MLFLOW_SERVER: Final = {**QUIET, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def storage_environ(folder: Path, endpoint: str, identity: Identity) -> dict[str, str]:
    """Lead every AWS client to the S3 server, whatever profile, session or endpoint the user's own shell names.

    `folder` gets a file that stands for the user's AWS configuration.
    """
    config = folder / "aws-config"
    if not config.exists():
        write_atomic(config, _AWS_CONFIG)
    return {
        "AWS_ACCESS_KEY_ID": identity.key,
        "AWS_SECRET_ACCESS_KEY": identity.secret,
        "AWS_SESSION_TOKEN": "",  # an empty one counts as none; the user's own would be sent with our keys
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_PROFILE": "default",
        "AWS_CONFIG_FILE": str(config.absolute()),
        "AWS_SHARED_CREDENTIALS_FILE": str(config.absolute()),
        "AWS_EC2_METADATA_DISABLED": "true",
        **past_proxies(os.environ),
    }


@contextlib.contextmanager
def led_by(environ: Mapping[str, str]) -> Iterator[None]:
    """This process with a cloud's variables: for code that takes keys, addresses and passwords from the environment."""
    before = dict(os.environ)
    os.environ.update(environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def past_proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """NO_PROXY in both spellings, with loopback added to what it holds."""
    known = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    names = [name.strip() for name in known.split(",") if name.strip()]
    text = ",".join([*names, *(name for name in _LOOPBACK if name not in names)])
    return {"NO_PROXY": text, "no_proxy": text}


def plain_environ() -> dict[str, str]:
    """This process's variables without those of any cloud, and with the code that runs here first on Python's path."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_OTHERS) and name not in (MARK, ROLE, "PYTHONPATH")
    }
    code = [str(Path(package.__path__[0]).parent) for package in (wms, wms_ops)]
    path = [*dict.fromkeys(code), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(path)),
        "PYTHONUNBUFFERED": "1",  # a log that is complete when its writer is killed
        **past_proxies(os.environ),
    }
