"""What every cloud can do, whether it's processes on this machine or an instance at AWS."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class CloudState(StrEnum):
    """Where the instance is in its life."""

    ABSENT = "absent"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


@dataclass(frozen=True)
class Endpoints:
    """Base addresses, such as http://203.0.113.7:5000: of MLflow, and of the service where one is deployed."""

    mlflow: str
    service: str | None = None


class Cloud(Protocol):
    """One instance. Every method may be repeated, by several people at a time, and killed half-way."""

    def status(self) -> CloudState:
        """The instance's state now."""
        ...

    def up(self) -> Endpoints:
        """Start the instance unless it runs, and return its addresses, which may not answer yet."""
        ...

    def down(self) -> None:
        """Stop the instance and wait until it costs nothing any more; nothing happens if it's absent."""
        ...
