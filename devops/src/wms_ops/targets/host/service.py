"""The service on an instance: the local cloud's deployment on loopback, behind the door's fixed public port."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from wms_ops.machine import deployment
from wms_ops.machine.processes import find
from wms_ops.machine.types import ModelRelease
from wms_ops.machine.workspace import SERVICE, Workspace
from wms_ops.targets.host.door import Door


@dataclass
class ModelService:
    """The releases in `workspace`, which no other process uses, served behind `door`."""

    workspace: Workspace
    door: Door

    def __post_init__(self) -> None:
        # The door follows each change at once: the old version is ended after the step.
        self.workspace = replace(self.workspace, step=lambda _: self.aim())

    def aim(self) -> None:
        """Lead the door to the current version."""
        current = self.workspace.read().current
        self.door.aim(current.port if current else None)

    def deploy(self, release: ModelRelease) -> int:
        """Serve a release once it's healthy; else the release before is served on. Raises CloudError."""
        with self._alone():
            deployment.deploy(self.workspace, release)
        return release.version

    def roll_back(self) -> int | None:
        """Serve the release from before the newest deployment; returns its version. Raises CloudError."""
        with self._alone():
            return deployment.roll_back(self.workspace)

    def version(self) -> int | None:
        """The version that is served."""
        current = self.workspace.read().current
        return current.version if current else None

    def revive(self) -> None:
        """Start the served version's process again if the process has ended by itself. Raises CloudError."""
        current = self.workspace.read().current
        if current is None or self.workspace.living(SERVICE, current.pid):
            return
        files = self.workspace.releases / current.name
        self.workspace.show(f"The service of version {current.version} ended by itself; starting it again.")
        self.deploy(ModelRelease(current.version, current.weights_sha256, files, files))

    def stop(self) -> None:
        """End all processes. Raises CloudError."""
        self.workspace.end(find(self.workspace.mark))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with self.workspace.locked():
            self.workspace.end_strays(self.workspace.read())
            yield
