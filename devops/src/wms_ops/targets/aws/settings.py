"""A user's settings for the cloud: infrastructure/terraform/wms.tfvars, checked whole before any start.

Terraform only warns of an unknown name in such a file, so a typo would quietly start another kind of instance.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wms.errors import ConfigError
from wms.paths import ROOT
from wms.project import FILE as FILE_OF_NAMES
from wms.project import FORMER_REGION, REGION, project
from wms_ops.base.settings import AwsSettings, InstanceSettings

FILE: Final = ROOT / "infrastructure" / "terraform" / "wms.tfvars"
LONGEST_HOURS: Final = 48
"""The longest life that an instance may be given."""


class CloudSettings(BaseModel):
    """The settings. `hours` is the longest life of an instance; `idle_minutes` 0 means that idleness ends nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    region: str = Field(default=REGION, pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    environment: str = Field(default="main", pattern=r"^[a-z][a-z0-9-]{0,19}$")
    instance_type: str = Field(default="t3.large", pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$")
    disk_gb: int = Field(default=30, ge=20, le=1000)
    spot: bool = False
    existing_instance_profile: str | None = Field(default=None, pattern=r"^[\w+=,.@-]{1,128}$")
    ami_id: str | None = Field(default=None, pattern=r"^ami-[0-9a-f]{8,17}$")
    idle_minutes: int = Field(default=0, ge=0, le=1440)
    hours: float = Field(default=4.0, ge=0.1, le=LONGEST_HOURS, allow_inf_nan=False)
    mlflow_port: int = Field(default=5000, ge=1024, le=65535)
    service_port: int = Field(default=8000, ge=1024, le=65535)
    github_repository: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]+(@\d+/[\w.-]+@\d+|/[\w.-]+)$")
    github_environment: str = Field(default="wms", pattern=r"^[\w-]{1,64}$")
    github_provider_arn: str | None = Field(default=None, pattern=r"^arn:[a-z-]+:iam::\d{12}:oidc-provider/[\w.]+$")
    budget_email: str | None = Field(default=None, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")
    budget_month_usd: float = Field(default=10.0, gt=0, allow_inf_nan=False)


def read_settings(path: Path = FILE, *, environ: Mapping[str, str]) -> CloudSettings:
    """The settings in `path`, the defaults without a file. Raises ConfigError, naming file, line and field, UsageError.

    WMS_ENVIRONMENT overrides the file; a region missing in the file is that of `chosen_region`.
    """
    text = _text(path)
    values = _parse(text, path) if text.strip() else {}
    origins = dict.fromkeys(values, str(path))
    chosen = "region" in values
    with contextlib.suppress(ConfigError):  # what is wrong in the file is told first
        if not chosen:
            values["region"], origins["region"] = chosen_region(environ)
    if environment := InstanceSettings.read(environ).wms_environment:
        values["environment"], origins["environment"] = environment, "WMS_ENVIRONMENT"
    for name in values:
        if name not in CloudSettings.model_fields:
            close = difflib.get_close_matches(name, CloudSettings.model_fields, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]}?" if close else f"choose of: {', '.join(CloudSettings.model_fields)}."
            raise ConfigError(f"{path}, line {_line(text, name)}: there is no setting {name!r}; {hint}")
    try:
        settings = CloudSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        origin = origins.get(name, str(path))
        where = f"{path}, line {_line(text, name)}" if origin == str(path) else origin
        raise ConfigError(f"{where}: {name} is {values.get(name)!r}: {first['msg']}; correct it.") from error
    if settings.mlflow_port == settings.service_port:
        name = "mlflow_port" if "mlflow_port" in values else "service_port"
        raise ConfigError(
            f"{path}, line {_line(text, name)}: MLflow and the service can't both have the port "
            f"{settings.mlflow_port}; change {name}."
        )
    if not chosen:
        chosen_region(environ)
    return settings


class Chosen(NamedTuple):
    """A region, and the place in which a user chose it."""

    name: str
    origin: str


def chosen_region(environ: Mapping[str, str] | None = None) -> Chosen:
    """Return the region in AWS_REGION, AWS_DEFAULT_REGION or wms.toml. Raises ConfigError if none names one.

    There is no default: with another one than yesterday's an instance that still runs would be out of sight.
    """
    told = AwsSettings.read(environ)
    if told.region:
        return Chosen(told.region, "AWS_REGION" if told.aws_region else "AWS_DEFAULT_REGION")
    if region := project().region:
        return Chosen(region, FILE_OF_NAMES)
    raise ConfigError(
        f"No region of AWS is chosen, so nothing was done. If this clone was used before there was a {FILE_OF_NAMES}, "
        f"its instances are in {FORMER_REGION}, which `wms upgrade` writes down; else run `wms init`, which takes "
        f"{REGION} unless you choose, or set AWS_REGION."
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # Windows writes a mark before the text
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Can't read {path}: {error}; restore the file.") from error


def _parse(text: str, path: Path) -> dict[str, Any]:
    import hcl2

    try:
        # Strings keep their quotes in some versions of the library.
        loaded = hcl2.loads(text if text.endswith("\n") else text + "\n")
    except Exception as error:  # the parser has many classes of its own
        line = getattr(error, "line", None)
        where = f"{path}, line {line}" if isinstance(line, int) and line > 0 else str(path)
        raise ConfigError(f'{where} can\'t be read; write lines such as `instance_type = "t3.large"`.') from error
    return {name: _plain(value) for name, value in loaded.items() if not name.startswith("__")}


def _plain(value: Any) -> Any:
    if isinstance(value, str) and len(value) >= 2 and value[0] == value[-1] == '"':
        return value[1:-1]
    return None if value == "null" else value


def _line(text: str, name: str) -> int:
    found = re.search(rf"^\s*{re.escape(name)}\s*=", text, re.MULTILINE)
    return text[: found.start()].count("\n") + 1 + found[0].count("\n", 0, len(found[0]) - 1) if found else 1
