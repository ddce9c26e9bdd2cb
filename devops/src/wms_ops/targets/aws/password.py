"""MLflow's password: made anew for each launch, kept in SSM, hidden in a workflow's log."""

from __future__ import annotations

import secrets
from typing import Any

from wms_ops.base.errors import CloudError
from wms_ops.base.outputs import mask
from wms_ops.storage.codes import NO_PARAMETER, unless
from wms_ops.storage.names import Names
from wms_ops.storage.trouble import aws_errors


def make_password(ssm: Any, names: Names) -> None:
    """Make a new password, as a SecureString: the instance and its users read the password from SSM."""
    with aws_errors("keep MLflow's password"):
        ssm.put_parameter(
            Name=names.password_parameter, Value=secrets.token_urlsafe(24), Type="SecureString", Overwrite=True
        )


def read_password(ssm: Any, names: Names) -> str:
    """The instance's password. Raises CloudError without a password."""
    with aws_errors("read MLflow's password"):
        found = unless(NO_PARAMETER, ssm.get_parameter, Name=names.password_parameter, WithDecryption=True)
    if found is None:
        raise CloudError(
            f"There is no password for MLflow in {names.password_parameter}; start the instance with "
            "devops/scripts/deploy-to-cloud.sh."
        )
    password = str(found["Parameter"]["Value"])
    mask(password)
    return password


def forget(ssm: Any, names: Names) -> None:
    """Delete the launch's parameters in SSM."""
    with aws_errors("delete the instance's parameters"):
        ssm.delete_parameters(Names=[names.password_parameter, names.boot_parameter])
