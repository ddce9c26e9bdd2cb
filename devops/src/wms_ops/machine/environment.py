"""Environment variables: those that lead clients to the local cloud, and those that its processes start with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

import wms
import wms_ops
from wms import quiet
from wms.files import write_atomic
from wms.loopback import past_proxies, scheme_of
from wms.registry.mlflow_variables import trust
from wms.settings import LoginSettings
from wms_ops.machine.processes import unmarked
from wms_ops.machine.seaweed import Identity

REGION: Final = "us-east-1"
_AWS_CONFIG: Final = f"[default]\nregion = {REGION}\n"
_OTHERS: Final = ("AWS_", "MLFLOW_", "_MLFLOW_", "DVC_")

QUIET: Final = {
    **quiet.QUIET,
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def storage_environ(folder: Path, endpoint: str, identity: Identity) -> dict[str, str]:
    """Lead every AWS client to the S3 server, whichever profile, session or endpoint the user's own shell names.

    `folder` gets a file that replaces the user's AWS configuration.
    """
    config = folder / "aws-config"
    if not config.exists():
        write_atomic(config, _AWS_CONFIG)
    return {
        "AWS_ACCESS_KEY_ID": identity.key,
        "AWS_SECRET_ACCESS_KEY": identity.secret,
        "AWS_SESSION_TOKEN": "",  # nosec B105 - empty counts as unset; the user's own token would be sent with our keys
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


def tracking_address(environ: Mapping[str, str], uri: str) -> str:
    """MLflow's address with the user name and the password from `environ`, in the form that `ModelRegistry` takes.

    So the credentials reach the client without this process's environment, and so does the server's certificate that
    `environ` names; an address with credentials stays as it is.

    >>> tracking_address({"MLFLOW_TRACKING_USERNAME": "wms", "MLFLOW_TRACKING_PASSWORD": "a/b"}, "http://10.0.0.7:5000")
    'http://wms:a%2Fb@10.0.0.7:5000'
    """
    told = LoginSettings.read(environ)
    if told.mlflow_tracking_server_cert_path:
        trust(uri, told.mlflow_tracking_server_cert_path)
    user, password = told.mlflow_tracking_username, told.mlflow_tracking_password
    if not (user and password) or not scheme_of(uri) or (parts := urlsplit(uri)).username is not None:
        return uri
    return parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{parts.netloc}").geturl()


def plain_environ() -> dict[str, str]:
    """This process's variables without those of any cloud, with the running code first on Python's path."""
    own = unmarked(os.environ)
    kept = {name: value for name, value in own.items() if not name.startswith(_OTHERS)}
    code = [str(Path(package.__path__[0]).parent) for package in (wms, wms_ops)]
    path = [*dict.fromkeys(code), *filter(None, own.get("PYTHONPATH", "").split(os.pathsep))]
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(path)),
        "PYTHONUNBUFFERED": "1",  # a log that is complete when its writer is killed
        **past_proxies(os.environ),
    }
