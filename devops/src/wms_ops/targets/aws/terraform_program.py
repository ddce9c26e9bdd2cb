"""The program `terraform` on this machine: where it is, and whether its version will do."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from typing import Final

from wms.files import parse_json
from wms.quiet import QUIET
from wms_ops.base.errors import CloudError

OLDEST: Final = (1, 11)
"""The first version that locks a state in S3 without a DynamoDB table."""

_OLDEST: Final = ".".join(map(str, OLDEST))


def find_terraform(environ: Mapping[str, str]) -> str:
    """The program's path. Raises CloudError without Terraform."""
    found = shutil.which("terraform", path=environ.get("PATH"))
    if found is None:
        raise CloudError(
            f"Terraform isn't installed; install version {_OLDEST} or newer from "
            "developer.hashicorp.com/terraform/install, then run this again."
        )
    return found


def require_terraform(environ: Mapping[str, str]) -> str:
    """Terraform's version. Raises CloudError for a version that is too old, or without Terraform."""
    program = find_terraform(environ)
    command = [program, "version", "-json"]
    quiet = {**environ, **QUIET}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet, timeout=60)
        version = str(parse_json(done.stdout)["terraform_version"])
        numbers = tuple(int(part) for part in version.split("-", maxsplit=1)[0].split("."))
    except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError) as error:
        raise CloudError(f"{program} doesn't say its version; install Terraform {_OLDEST} or newer.") from error
    if numbers < OLDEST:
        raise CloudError(f"Terraform {version} is too old; install version {_OLDEST} or newer.")
    return version
