"""The checks of `wms doctor`: each returns a Finding, or raises a WmsError that names the defect."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from wms.errors import WmsError
from wms.loopback import scheme_of
from wms.registry.ledger import Ledger
from wms.registry.metadata import metadata_fault
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.sync import is_here
from wms_ops.base.errors import StoreUnreachableError
from wms_ops.base.layout import METADATA, MODELS
from wms_ops.base.settings import AwsSettings, StoreSettings
from wms_ops.commands.advice import remedy, remedy_in
from wms_ops.cost.prices import home_region
from wms_ops.git.command import Git, require_git
from wms_ops.hook.install import hook_defect
from wms_ops.storage.config import read_remote
from wms_ops.storage.remote import S3Remote

_FREE_GB: Final = 5.0
_ANSWER_S: Final = 5.0
_LIBRARIES: Final = ("pydantic", "PIL", "numpy", "dvc", "boto3", "mlflow", "onnxruntime", "torch")
_START: Final = 'wms cloud up && eval "$(wms cloud environ)"'
# The modules that the checks' libraries import late.
_IMPORTED_LATE: Final = (
    *("boto3.s3.transfer", "botocore.httpsession", "botocore.session", "botocore.configprovider", "botocore.parsers"),
    *("botocore.credentials", "botocore.retries.standard", "botocore.waiter", "botocore.signers", "botocore.crt.auth"),
    *("wms_ops.targets.aws.clients", "wms_ops.targets.aws.terraform", "wms_ops.machine.answers"),
)


class State(StrEnum):
    """A finding's state: `missing` stops the next step; `optional` is required only for the purpose in its text."""

    FINE = "fine"
    MISSING = "missing"
    OPTIONAL = "optional"


@dataclass(frozen=True)
class Finding:
    """A check's result; `mend` is a command or a sentence, empty if nothing is wrong."""

    name: str
    state: State
    text: str
    mend: str = ""


def import_libraries() -> None:
    """Import what the checks import: in threads, two imports that meet may wait for each other.

    A missing library is left to `check_python`.
    """
    for name in _IMPORTED_LATE:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def check_python(_: Path) -> Finding:
    """The version of Python, and the libraries that commands import."""
    lacking = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    version = f"Python {platform.python_version()}"
    if lacking:
        return Finding("Python", State.MISSING, f"{version} lacks {', '.join(lacking)}", "make install")
    return Finding("Python", State.FINE, f"{version} with all libraries, {sys.executable}")


def check_git(_: Path) -> Finding:
    """git's version: merges of the data set need a new one."""
    try:
        return Finding("git", State.FINE, require_git())
    except WmsError as error:
        return Finding("git", State.MISSING, str(error), "https://git-scm.com/downloads")


def check_hook(repo: Path) -> Finding:
    """Whether pushes of this clone go through the pre-push hook."""
    if defect := hook_defect(Git(repo)):
        return Finding("hook", State.MISSING, *defect)
    return Finding("hook", State.FINE, "the pre-push hook looks at every push from this clone")


def check_disk(repo: Path) -> Finding:
    """Free space for the data set, runs and models."""
    free = shutil.disk_usage(repo).free / 1e9
    if free < _FREE_GB:
        text = f"{free:.1f} GB are free where {_FREE_GB:.0f} are needed"
        return Finding("disk", State.MISSING, text, "free some space, for example of old folders in runs/")
    return Finding("disk", State.FINE, f"{free:.0f} GB are free")


def check_bucket(repo: Path) -> Finding:
    """Whether the data set's bucket can be read with the keys at hand. Raises the store's errors."""
    config = read_remote(repo)
    try:
        S3Remote(config).check_access()
    except StoreUnreachableError as error:
        if not config.endpoint_url:
            raise
        return Finding("bucket", State.MISSING, str(error), _START)
    return Finding("bucket", State.FINE, f"{config.url} can be read and written")


def check_aws(_: Path) -> Finding:
    """The account of the AWS credentials; only the cloud at AWS requires credentials."""
    from wms_ops.targets.aws.clients import Aws

    needed = "only needed for an instance at AWS"
    told = AwsSettings.read()
    if StoreSettings.read().aws_endpoint_url_s3 and not told.aws_endpoint_url_sts:
        return Finding("AWS", State.OPTIONAL, f"the keys are those of the local cloud; others are {needed}")
    region = told.region or home_region()
    try:
        return Finding("AWS", State.FINE, f"account {Aws(region).account}, region {region}")
    except WmsError as error:
        return Finding("AWS", State.OPTIONAL, f"{needed}: {error}", remedy(error))


def check_terraform(_: Path) -> Finding:
    """The version of Terraform; only the cloud at AWS requires Terraform."""
    from wms_ops.targets.aws.terraform import require_terraform

    try:
        return Finding("Terraform", State.FINE, f"Terraform {require_terraform(os.environ)}")
    except WmsError as error:
        text = f"only needed for an instance at AWS: {error}"
        return Finding("Terraform", State.OPTIONAL, text, "https://developer.hashicorp.com/terraform/install")


def check_github(_: Path) -> Finding:
    """The command gh and its login; `wms sync` and pull requests at GitHub require both."""
    needed = "only needed for `wms sync` and pull requests at GitHub"
    try:
        done = subprocess.run(["gh", "auth", "status"], capture_output=True, timeout=_ANSWER_S, check=False)
    except FileNotFoundError:
        return Finding("GitHub", State.OPTIONAL, f"gh isn't installed; {needed}", "https://cli.github.com")
    except subprocess.TimeoutExpired:
        return Finding("GitHub", State.OPTIONAL, f"gh doesn't answer; {needed}", "gh auth status")
    if done.returncode:
        return Finding("GitHub", State.OPTIONAL, f"gh has no login; {needed}", "gh auth login")
    return Finding("GitHub", State.FINE, "gh is logged in")


def check_mlflow(_: Path) -> Finding:
    """The MLflow server named by MLFLOW_TRACKING_URI; promotions and the gate require a server.

    Raises UsageError for an address that no command takes.
    """
    from wms_ops.machine.answers import why_silent

    needed = "only needed for `wms gate` and `wms promote`"
    registry = ModelRegistry.if_named()
    if registry is None:
        return Finding("MLflow", State.OPTIONAL, f"MLFLOW_TRACKING_URI isn't set; {needed}", _START)
    if scheme_of(registry.uri) not in ("http", "https"):
        return Finding("MLflow", State.FINE, f"a database: {registry.server}")
    if reason := why_silent(registry.uri):
        return Finding("MLflow", State.OPTIONAL, f"{registry.server} is silent ({reason}); {needed}", _START)
    return Finding("MLflow", State.FINE, f"{registry.server} answers")


def check_model(repo: Path) -> Finding:
    """model-metadata.json, and the files of Production; `wms predict` and `wms serve` require the latter.

    Raises LedgerError.
    """
    folder = repo / MODELS
    ledger = Ledger(folder)
    if fault := metadata_fault(repo / METADATA, ledger):
        return Finding("model", State.MISSING, fault, remedy_in(fault))
    entry = ledger.current()
    if entry is None:
        text = "no model is Production yet; only needed for `wms predict` and `wms serve`"
        return Finding("model", State.OPTIONAL, text, "wms train, then wms gate and wms promote")
    if is_here(folder, entry):
        return Finding("model", State.FINE, f"{folder} holds version {entry.to_version}, which is Production")
    text = f"{folder} doesn't hold version {entry.to_version}; only needed for `wms predict` and `wms serve`"
    return Finding("model", State.OPTIONAL, text, "wms sync, or wms sync --from s3")


CHECKS: Final[Mapping[str, tuple[Callable[[Path], Finding], bool]]] = {
    "Python": (check_python, True),
    "git": (check_git, True),
    "hook": (check_hook, True),
    "disk": (check_disk, True),
    "bucket": (check_bucket, True),
    "AWS": (check_aws, False),
    "Terraform": (check_terraform, False),
    "GitHub": (check_github, False),
    "MLflow": (check_mlflow, False),
    "model": (check_model, False),
}
"""Each check, and whether the next step, a push of photos, depends on its result."""
