"""Every environment variable that the machine-learning library reads: type, default and meaning.

A variable is read when a caller asks, never at import time, and a bad value stops only callers of its group.
`wms_ops.base.settings` has the groups of the operations library; docs/settings.md and .env.example are made from both.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wms.errors import UsageError

TRACKING_URI = "MLFLOW_TRACKING_URI"


def variable(default: Any, meaning: str, *, give: str = "", example: str = "", **limits: Any) -> Any:
    """A field of a group: `give` and `example` end the sentence about a bad value, such as "a number of seconds"."""
    extra: dict[str, Any] = {"give": give, "example": example}
    return Field(default, description=meaning, json_schema_extra=extra, repr=False, **limits)


class Variables(BaseModel):
    """A group of variables; the field `wms_budget_usd` holds the variable WMS_BUDGET_USD.

    An unset, empty or blank variable leaves the field's default. A group's text shows no values, because some are
    secret.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> Self:
        """The group's values in `environ`, by default the process's environment.

        Raises UsageError with the variable's name, its text and a valid form.
        """
        given = os.environ if environ is None else environ
        names = {name: name.upper() for name in cls.model_fields}
        # No walk over the environment, as pydantic-settings does: MLflow's threads may be changing a variable.
        values = {name: text for name, label in names.items() if (text := given.get(label, "").strip())}
        try:
            return cls(**values)
        except ValidationError as error:
            name = str(error.errors()[0]["loc"][0])
            about = cls.model_fields[name].json_schema_extra
            assert isinstance(about, dict)  # noqa: S101 # nosec B101 - each field comes from `variable`
            hint = f"give {about['give']}, such as {about['example']}."
            raise UsageError(f"{names[name]} is {given[names[name]]!r}; {hint}") from None


class TrackingSettings(Variables):
    """Which MLflow server a command works with."""

    mlflow_tracking_uri: str = variable(
        "", "Address of the MLflow server, or a database such as sqlite:///mlflow.db", example="http://localhost:5000"
    )


class LoginSettings(Variables):
    """The login at the MLflow server, which MLflow's client reads."""

    mlflow_tracking_username: str = variable("", "User name at the MLflow server", example="wms")
    mlflow_tracking_password: str = variable("", "Password at the MLflow server (secret)")
    mlflow_tracking_server_cert_path: str = variable(
        "", "File with the MLflow server's certificate, or its authority's", example=".loop/aws/main-mlflow.pem"
    )


class PatienceSettings(Variables):
    """How long a command waits for the MLflow server."""

    wms_mlflow_timeout: float = variable(
        60.0,
        "Seconds after which one operation at the registry is given up, retries included",
        give="a number of seconds",
        example="60",
        gt=0,
    )
    wms_mlflow_wait: float = variable(
        60.0,
        "Seconds that a finished run waits for the server to take its metrics and files",
        give="a number of seconds",
        example="60",
        ge=0,
    )


class TorchrunSettings(Variables):
    """Where a process stands among several that train together; torchrun sets these."""

    world_size: int = variable(1, "Number of processes", give="a whole number", example="2", ge=1)
    rank: int = variable(0, "Number of this process, from 0", give="a whole number", example="0", ge=0)
    local_rank: int = variable(0, "Number of this process on its machine", give="a whole number", example="0", ge=0)
    master_addr: str = variable("", "Address of the machine on which the first process runs", example="127.0.0.1")
    master_port: int = variable(
        0, "Port at which the first process listens", give="a port", example="29500", ge=0, le=65535
    )

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> Self:
        """The variables, which must agree. Raises UsageError."""
        told = super().read(environ)
        if told.rank >= told.world_size:
            raise UsageError(
                f"RANK is {told.rank}, but WORLD_SIZE is {told.world_size}; give a RANK below it, or unset both."
            )
        lacking = {"rank", "master_addr", "master_port"} - told.model_fields_set
        if told.world_size > 1 and lacking:
            names = ", ".join(sorted(name.upper() for name in lacking))
            raise UsageError(f"WORLD_SIZE is {told.world_size} without {names}; use torchrun, or unset WORLD_SIZE.")
        return told


class RealDataSettings(Variables):
    """Real photos for the benchmark of training and for `make demo-real`."""

    wms_real_data: str = variable(
        "", "Folder with base/images and base/masks, and new/images and new/masks", example="/data/water-meters"
    )


class ThreadSettings(Variables):
    """The threads of a training (see docs/training.md)."""

    omp_num_threads: str = variable(
        "", "Number of threads, which then stays, whatever else runs; torchrun sets it, too", example="2"
    )


class ProjectSettings(Variables):
    """The names of this project, which wms.project reads without this module (see docs/SETUP.md)."""

    wms_project: str = variable("", "Another file of names than wms.toml in this clone", example="other/wms.toml")


class InstallSettings(Variables):
    """The installation, and scripts on Windows (see docs/SETUP.md)."""

    wms_offline: str = variable("", "Wheelhouse to install from without a network", example="/media/stick/wheelhouse")
    wms_no_pause: str = variable("", "Any text keeps .bat files from waiting for a key after a double click")


class CheckSettings(Variables):
    """What the tests read."""

    wms_require_tools: str = variable("", "1 makes a test fail, not skip, where a program such as terraform is missing")
    wms_whole_matrices: str = variable("", "1 makes a test run try every case and scenario, not this commit's slice")
    tf_plugin_mirror: str = variable("", "Folder with Terraform's providers, for machines without a network")
