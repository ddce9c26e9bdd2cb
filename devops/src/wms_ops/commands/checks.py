"""Checks of `wms doctor` that ask a program or a server: each returns a Finding, or raises the defect's WmsError."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from wms.errors import LedgerError, WmsError
from wms.loopback import scheme_of
from wms.project import FILE, read_project
from wms.registry.ledger import Ledger
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.sync import is_here
from wms_ops.base.errors import StoreUnreachableError
from wms_ops.base.layout import MODELS
from wms_ops.base.settings import AwsSettings, StoreSettings
from wms_ops.commands.advice import remedy
from wms_ops.commands.checks_records import DAMAGED
from wms_ops.commands.finding import Finding, State
from wms_ops.commands.newer import import_client
from wms_ops.git.command import Git, require_git
from wms_ops.hook.install import hook_defect
from wms_ops.storage.config import read_remote
from wms_ops.storage.marker import owner_of, refuse_another
from wms_ops.storage.remote import S3Remote

_FREE_GB: Final = 5.0
_ANSWER_S: Final = 5.0
_START: Final = 'wms cloud up && eval "$(wms cloud environ)"'
# The modules that the checks' libraries import late.
_IMPORTED_LATE: Final = (
    *("boto3.s3.transfer", "botocore.httpsession", "botocore.session", "botocore.configprovider", "botocore.parsers"),
    *("botocore.credentials", "botocore.retries.standard", "botocore.waiter", "botocore.signers", "botocore.crt.auth"),
    *("hcl2", "wms_ops.machine.answers"),
    *(f"wms_ops.targets.aws.{name}" for name in ("clients", "inventory", "reap", "settings", "terraform")),
)


def import_libraries() -> None:
    """Import what the checks import: in threads, two imports that meet may wait for each other.

    A missing library is left to `check_libraries`.
    """
    for name in _IMPORTED_LATE:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    with contextlib.suppress(ImportError):
        import_client()


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
    """Whether the bucket can be read with the keys at hand, and is marked for no other project.

    Raises the store's errors, and StoreConfigError with the sentence that a push ends with.
    """
    config = read_remote(repo)
    store = S3Remote(config)
    try:
        store.check_access()
        refuse_another(store, owner_of(store), read_project(repo / FILE).project)
    except StoreUnreachableError as error:
        if not config.endpoint_url:
            raise
        return Finding("bucket", State.MISSING, str(error), _START)
    return Finding("bucket", State.FINE, f"{config.url} can be read and written")


def check_aws(_: Path) -> Finding:
    """The account of the AWS credentials; only the cloud at AWS requires credentials."""
    from wms_ops.targets.aws.clients import Aws
    from wms_ops.targets.aws.settings import chosen_region

    needed = "only needed for an instance at AWS"
    told = AwsSettings.read()
    if StoreSettings.read().aws_endpoint_url_s3 and not told.aws_endpoint_url_sts:
        return Finding("AWS", State.OPTIONAL, f"the keys are those of the local cloud; others are {needed}")
    try:
        region = chosen_region().name
        return Finding("AWS", State.FINE, f"account {Aws(region).account}, region {region}")
    except WmsError as error:
        return Finding("AWS", State.OPTIONAL, f"{needed}: {error}", remedy(error))


def check_terraform(_: Path) -> Finding:
    """The version of Terraform; only the cloud at AWS requires Terraform."""
    from wms_ops.targets.aws.terraform_program import require_terraform

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
    """The files of Production, which `wms predict` and `wms serve` require; the ledger's damage is another finding."""
    needed = "only needed for `wms predict` and `wms serve`"
    folder = repo / MODELS
    try:
        entry = Ledger(folder).current()
    except LedgerError:
        return Finding("model", State.OPTIONAL, f"the ledger doesn't tell which one is Production; {needed}", DAMAGED)
    if entry is None:
        text = f"no model is Production yet; {needed}"
        return Finding("model", State.OPTIONAL, text, "wms train, then wms gate and wms promote")
    if is_here(folder, entry):
        return Finding("model", State.FINE, f"{folder} holds version {entry.to_version}, which is Production")
    text = f"{folder} doesn't hold version {entry.to_version}; {needed}"
    return Finding("model", State.OPTIONAL, text, "wms sync, or wms sync --from s3")
