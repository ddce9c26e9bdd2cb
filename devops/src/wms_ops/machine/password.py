"""Access to MLflow on an instance: its two user names, and the source of their password."""

from __future__ import annotations

from typing import Any, Final

from wms_ops.base.errors import CloudError
from wms_ops.storage.client import PATIENT_ATTEMPTS, make_client
from wms_ops.storage.codes import NO_PARAMETER, unless
from wms_ops.storage.trouble import aws_errors

USER: Final = "wms"
OWN_USER: Final = "host"
"""The user name of requests from the instance itself, with the same password: they don't keep it from being idle."""


def read_password(parameter: str, region: str | None = None, ssm: Any = None) -> str:
    """The value of an SSM parameter, MLflow's password; `region` defaults to that of the environment.

    Raises CloudError without a password, and the errors of `aws_errors`.
    """
    ssm = ssm or make_client("ssm", region, attempts=PATIENT_ATTEMPTS)
    with aws_errors("read MLflow's password"):
        found = unless(NO_PARAMETER, ssm.get_parameter, Name=parameter, WithDecryption=True)
    if found is None:
        raise CloudError(
            f"There is no password for MLflow in {parameter}; start the instance with "
            "devops/scripts/deploy-to-cloud.sh."
        )
    return str(found["Parameter"]["Value"])
