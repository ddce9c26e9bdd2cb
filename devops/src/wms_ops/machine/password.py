"""Access to MLflow on an instance: its two user names, and the source of their password."""

from __future__ import annotations

from typing import Final

from wms_ops.base.errors import CloudError
from wms_ops.storage.client import PATIENT_ATTEMPTS, make_client

USER: Final = "wms"
OWN_USER: Final = "host"
"""The user name of requests from the instance itself, with the same password: they don't keep it from being idle."""


def read_password(parameter: str, region: str | None = None) -> str:
    """The value of an SSM parameter, MLflow's password; `region` defaults to that of the environment.

    Raises CloudError.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        ssm = make_client("ssm", region, attempts=PATIENT_ATTEMPTS)
        return str(ssm.get_parameter(Name=parameter, WithDecryption=True)["Parameter"]["Value"])
    except (BotoCoreError, ClientError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CloudError(
            f"MLflow's password can't be read from the SSM parameter {parameter} ({reason}); start the instance with "
            "deploy-to-cloud.sh, which makes it."
        ) from error
