"""What every cloud can do, whether it's processes on this machine or an instance at AWS."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from wms_ops.machine.types import CloudState, Endpoints, Release


class Cloud(Protocol):
    """One instance. Every method may be repeated, by several people at a time, and killed half-way.

    The store of photos and models isn't part of the instance: it outlives `down`.
    """

    @property
    def name(self) -> str:
        """What sentences call it, such as "local"."""
        ...

    def status(self) -> CloudState:
        """The instance's state now."""
        ...

    def endpoints(self) -> Endpoints | None:
        """The instance's addresses; None where it doesn't run."""
        ...

    def environ(self) -> Mapping[str, str]:
        """Variables that lead git hooks, DVC, MLflow's clients and this project's commands to this cloud."""
        ...

    def up(self) -> Endpoints:
        """Start the instance unless it runs, and return its addresses, which may not answer yet."""
        ...

    def wait(self, limit_s: float = 900.0) -> None:
        """Return once MLflow answers a call of its API.

        Raises CloudError where nothing is up or its start fails, RegistryUnreachableError or CloudError after
        `limit_s` seconds.
        """
        ...

    def down(self) -> None:
        """Stop the instance and wait until it costs nothing any more; nothing happens if it's absent."""
        ...

    def run(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        log: Path,
        environ: Mapping[str, str] | None = None,
        show: Callable[[str], None] = lambda _: None,
    ) -> int:
        """Run a command on the instance, in `folder`, with `environ` on top of `environ()`; returns its exit code.

        Its output goes to the file `log` and line by line to `show`. It ends with the instance.
        """
        ...

    def deploy(self, release: Release) -> str:
        """Serve this version instead of the one before, once it says that it's healthy; returns the base address.

        Raises CloudError if it doesn't become healthy: the version before is served on.
        """
        ...

    def roll_back(self) -> int | None:
        """Serve the version that was served before the newest `deploy`; returns it, None if nothing is served now."""
        ...
