"""The methods that every cloud has, be it processes on this machine or an instance at AWS."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol, Self

from wms_ops.cost.prices import Choice
from wms_ops.cost.sessions import Session
from wms_ops.machine.types import CloudState, Endpoints, ModelRelease
from wms_ops.storage.bucket import Bucket


class Cloud(Protocol):
    """One instance. Users may repeat each method, call it at the same time, and kill it half-way.

    The store of photos and models isn't part of the instance: the store outlives `down`.

    >>> cloud.up().mlflow
    'http://203.0.113.7:5000'
    >>> cloud.wait()
    >>> cloud.run(["python", "-c", "print(1)"], folder=Path("."), log=Path("run.log"))
    0
    >>> cloud.down()
    """

    @property
    def name(self) -> str:
        """The target's name in sentences, such as "local"."""

    @property
    def billed(self) -> bool:
        """Whether the instance costs money; if not, `choice` gives the price of the same work elsewhere."""

    @property
    def needs_account(self) -> bool:
        """Whether this target requires an account; if not, pull requests need none either."""

    def choice(self) -> Choice:
        """The kind of instance that `up` starts, and its longest life."""

    def sessions(self, since: datetime | None = None) -> Sequence[Session]:
        """The instances on record, at least all that weren't over at `since`; empty for a target that isn't billed."""

    def note(self, change: Callable[[Session], Session], since: datetime) -> None:
        """Change the record of this run's instances; a target that isn't billed does nothing.

        Instances that were over at `since` may be left as they are.
        """

    def records(self) -> tuple[Bucket, str]:
        """The bucket, and the beginning of its keys, for records of runs that jobs on several machines share."""

    def for_run(self, run_id: str) -> Self:
        """The same target for a run of the loop, whose id goes into the record of each instance."""

    def borrowed(self) -> Cloud | None:
        """The same target for a command that only borrows it: its `down` leaves earlier processes alone.

        None for a target that was never used, so that a borrower creates nothing.
        """

    def storage_up(self) -> None:
        """Make the store answer; does nothing for a store that always runs."""

    def status(self) -> CloudState:
        """The instance's state now."""

    def endpoints(self) -> Endpoints | None:
        """The instance's addresses; None without a running instance."""

    def environ(self) -> Mapping[str, str]:
        """Variables that lead git hooks, DVC, MLflow's clients and this project's commands to this cloud."""

    def up(self) -> Endpoints:
        """Start the instance unless running, and return its addresses, which may not answer yet."""

    def wait(self, limit_s: float = 900.0) -> None:
        """Return once MLflow answers a call of its API.

        Raises CloudError without an instance or after a failed start, RegistryUnreachableError or CloudError after
        `limit_s` seconds.
        """

    def down(self) -> None:
        """Stop the instance and wait until nothing costs money any more; does nothing without an instance."""

    def run(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        log: Path,
        environ: Mapping[str, str] | None = None,
        show: Callable[[str], None] = lambda _: None,
    ) -> int:
        """Run a command on the instance, in `folder`, with `environ` on top of `environ()`; returns the exit code.

        The output goes to the file `log` and line by line to `show`. The command ends with the instance.
        """

    def deploy(self, release: ModelRelease) -> str:
        """Serve this version instead of the one before, once healthy; returns the base address.

        Raises CloudError if the version doesn't become healthy: the version before is served on.
        """

    def roll_back(self) -> int | None:
        """Serve the version from before the newest `deploy`; returns that version, None if no version is served now."""
