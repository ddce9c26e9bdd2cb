"""The values that targets exchange with callers: state, addresses, and the release to serve."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class CloudState(StrEnum):
    """A stage in the life of an instance."""

    ABSENT = "absent"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


@dataclass(frozen=True)
class Endpoints:
    """Base addresses, such as http://203.0.113.7:5000: of MLflow, and of the service after a deployment."""

    mlflow: str
    service: str | None = None


@dataclass(frozen=True)
class ModelRelease:
    """A model version to serve: the folder of its files, and that of the ledger which confirms it."""

    version: int
    weights_sha256: str
    model: Path
    ledger: Path
