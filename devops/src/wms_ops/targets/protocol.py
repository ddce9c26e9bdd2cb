"""What every cloud can do, whether it's processes on this machine or an instance at AWS."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol, Self

from wms_ops.cost.prices import Choice
from wms_ops.cost.sessions import Session
from wms_ops.machine.types import CloudState, Endpoints, ModelRelease


class Cloud(Protocol):
    """One instance. Every method may be repeated, by several people at a time, and killed half-way.

    The store of photos and models isn't part of the instance: it outlives `down`.
    """

    @property
    def name(self) -> str:
        """What sentences call it, such as "local"."""
        ...

    @property
    def billed(self) -> bool:
        """Whether the instance costs money; if not, `choice` is what the same work would be priced as."""
        ...

    @property
    def needs_account(self) -> bool:
        """Whether this target can't be used without an account; if not, pull requests ask for none either."""
        ...

    def choice(self) -> Choice:
        """What `up` starts, for how long at most."""
        ...

    def sessions(self, since: datetime | None = None) -> Sequence[Session]:
        """The instances on record, at least all that weren't over at `since`; none where nothing is billed."""
        ...

    def note(self, change: Callable[[Session], Session], since: datetime) -> None:
        """Change what is on record of this run's instances; nothing happens where nothing is billed.

        Instances that were over at `since` may be left as they are.
        """
        ...

    def for_run(self, run_id: str) -> Self:
        """The same target for a run of the loop, which is named in the record of what the target starts."""
        ...

    def borrowed(self) -> Cloud | None:
        """The same target for a command that only borrows it: its `down` leaves what ran before.

        None where this target was never used, so that nothing is made for a borrower.
        """
        ...

    def storage_up(self) -> None:
        """See to it that the store answers; nothing happens where the store is a service that always runs."""
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

    def deploy(self, release: ModelRelease) -> str:
        """Serve this version instead of the one before, once it says that it's healthy; returns the base address.

        Raises CloudError if it doesn't become healthy: the version before is served on.
        """
        ...

    def roll_back(self) -> int | None:
        """Serve the version that was served before the newest `deploy`; returns it, None if nothing is served now."""
        ...
