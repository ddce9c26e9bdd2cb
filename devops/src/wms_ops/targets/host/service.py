"""The service on an instance: the local cloud's deployment on loopback, with a fixed public port in front of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from wms_ops.machine import deployment
from wms_ops.machine.processes import find
from wms_ops.machine.room import SERVICE, Room
from wms_ops.machine.types import Release
from wms_ops.targets.host.relay import Relay


@dataclass
class ModelService:
    """What is served in `room`, which nobody else uses, behind `bind`:`port`."""

    room: Room
    bind: str
    port: int
    relay: Relay = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.relay = Relay(self.bind, self.port, self._target)

    @classmethod
    def of(cls, folder: Path, bind: str, port: int, show: Callable[[str], None]) -> ModelService:
        """In a folder of its own."""
        return cls(Room(folder, show), bind, port)

    def start(self) -> None:
        """Open the door; what was served before the agent's last end is served again. Raises CloudError."""
        self.relay.start()
        self.revive()

    def deploy(self, release: Release) -> int:
        """Serve a release once it's healthy; the one before is served on if it isn't. Raises CloudError."""
        with self.room.locked():
            self.room.end_strays(self.room.read())
            deployment.deploy(self.room, release)
        return release.version

    def roll_back(self) -> int | None:
        """Serve what was served before; returns its version. Raises CloudError."""
        with self.room.locked():
            self.room.end_strays(self.room.read())
            return deployment.roll_back(self.room)

    def version(self) -> int | None:
        """Which version is served."""
        current = self.room.read().current
        return current.version if current else None

    def revive(self) -> None:
        """Start the served version's process again if it ended by itself. Raises CloudError."""
        current = self.room.read().current
        if current is None or self.room.living(SERVICE, current.pid):
            return
        files = self.room.releases / current.name
        self.room.show(f"The service of version {current.version} ended by itself; starting it again.")
        self.deploy(Release(current.version, current.weights_sha256, files, files))

    def stop(self) -> None:
        """End all of it; the door stays open until the process ends. Raises CloudError."""
        self.room.end(find(self.room.mark))

    def _target(self) -> int | None:
        current = self.room.read().current
        return current.port if current else None
