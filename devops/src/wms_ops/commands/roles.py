"""The checks of `wms doctor` by role: what the role's work needs, and what is only of use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from wms.libraries import MEGABYTES
from wms_ops.commands import checks
from wms_ops.commands.checks_github import check_repository
from wms_ops.commands.checks_records import check_records
from wms_ops.commands.checks_settings import check_python, check_settings, check_versions
from wms_ops.commands.checks_work import (
    check_budget,
    check_instances,
    check_postgresql,
    check_pull_requests,
    check_tools,
)
from wms_ops.commands.finding import Finding

Check = Callable[[Path], Finding]
Table = Mapping[str, tuple[Check, bool]]


def _python(groups: tuple[str, ...], _: Path) -> Finding:
    return check_python(groups)


_CORE: Final[Check] = partial(_python, ("core",))
_HERE: Final[Table] = {
    "Python": (_CORE, True),
    "git": (checks.check_git, True),
    "hook": (checks.check_hook, True),
    "disk": (checks.check_disk, True),
    "settings": (check_settings, True),
    "records": (check_records, True),
}
_BUCKET: Final[Table] = {"bucket": (checks.check_bucket, True)}
_MODEL: Final[Table] = {"model": (checks.check_model, False)}

CHECKS: Final[Table] = {
    **_HERE,
    **_BUCKET,
    "versions": (check_versions, False),
    "AWS": (checks.check_aws, False),
    "Terraform": (checks.check_terraform, False),
    "GitHub": (checks.check_github, False),
    "MLflow": (checks.check_mlflow, False),
    **_MODEL,
}
"""The checks without a role, each with whether the next step, a push of photos, depends on its result."""

ROLES: Final[Mapping[str, Table]] = {
    "labeller": {**_HERE, **_BUCKET, **_MODEL},
    "reviewer": {
        **_HERE,
        "hook": (checks.check_hook, False),
        "GitHub": (check_pull_requests, True),
        "model": (checks.check_model, True),
        "bucket": (checks.check_bucket, False),
    },
    "operator": {
        **_HERE,
        "Python": (partial(_python, ("core", "cloud")), True),
        "hook": (checks.check_hook, False),
        **_BUCKET,
        "versions": (check_versions, True),
        "AWS": (checks.check_aws, True),
        "Terraform": (checks.check_terraform, True),
        "budget": (check_budget, True),
        "instances": (check_instances, True),
        "GitHub": (check_pull_requests, False),
        "repository": (check_repository, False),
        "MLflow": (checks.check_mlflow, False),
        **_MODEL,
    },
    "developer": {
        **_HERE,
        "Python": (partial(_python, tuple(MEGABYTES)), True),
        "tools": (check_tools, True),
        "PostgreSQL": (check_postgresql, True),
        "GitHub": (check_pull_requests, True),
        "Terraform": (checks.check_terraform, True),
        "bucket": (checks.check_bucket, False),
        "AWS": (checks.check_aws, False),
        "MLflow": (checks.check_mlflow, False),
        **_MODEL,
    },
}
"""The checks of each role, each with whether the role's work depends on its result."""
