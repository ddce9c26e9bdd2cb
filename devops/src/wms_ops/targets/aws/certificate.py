"""MLflow's certificate at the client: the instance's own, kept in a private file, and no other is accepted."""

from __future__ import annotations

import contextlib
from pathlib import Path

from wms.files import write_atomic
from wms.registry.mlflow_address import OTHER_CERTIFICATE
from wms.registry.mlflow_variables import trust
from wms_ops.base.errors import CloudError
from wms_ops.machine.answers import why_silent
from wms_ops.machine.certificate import read_certificate
from wms_ops.targets.aws.context import AwsContext


class NoCertificateError(CloudError):
    """The instance is still starting: it has shown no certificate."""


def certificate_file(context: AwsContext, launch_id: str) -> Path:
    """The file with the certificate of a launch's MLflow. Raises NoCertificateError before there is one."""
    names = context.names
    path = context.folder / f"{names.environment}-mlflow-{launch_id}.pem"
    if not path.exists():
        pem = read_certificate(names.certificate_parameter, launch_id, context.aws.ssm)
        if pem is None:
            raise NoCertificateError(
                "The instance hasn't shown MLflow's certificate yet; `wms cloud status` says how far its start is."
            )
        for old in context.folder.glob(f"{names.environment}-mlflow-*.pem"):
            with contextlib.suppress(OSError):
                old.unlink()
        write_atomic(path, pem, private=True)
    return path.absolute()


def mlflow_answers(context: AwsContext, launch_id: str, uri: str) -> bool:
    """Whether the launch's MLflow answers at `uri`. Raises CloudError if another server does."""
    try:
        trust(uri, certificate_file(context, launch_id))
    except NoCertificateError:
        return False
    reason = why_silent(uri)
    if reason is not None and "CERTIFICATE_VERIFY_FAILED" in reason:
        raise CloudError(f"MLflow at {uri} can't be used. {OTHER_CERTIFICATE}")
    return reason is None
