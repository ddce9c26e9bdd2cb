"""MLflow's password in SSM: made anew for each launch, deleted at its end."""

from __future__ import annotations

import secrets
from typing import Any

from wms_ops.storage.names import Names
from wms_ops.storage.trouble import aws_errors


def make_password(ssm: Any, names: Names) -> None:
    """Make a new password, as a SecureString: the instance and its users read the password from SSM."""
    with aws_errors("keep MLflow's password"):
        ssm.put_parameter(
            Name=names.password_parameter, Value=secrets.token_urlsafe(24), Type="SecureString", Overwrite=True
        )


def forget(ssm: Any, names: Names) -> None:
    """Delete the launch's parameters in SSM."""
    with aws_errors("delete the instance's parameters"):
        ssm.delete_parameters(Names=[names.password_parameter, names.certificate_parameter, names.boot_parameter])
