"""The cloud on this machine: S3, MLflow and the service as processes on loopback, without any account."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Final, Self

import psutil

from wms_ops.base.errors import CloudError
from wms_ops.cost.prices import Choice
from wms_ops.cost.sessions import Session
from wms_ops.machine import deployment, seaweed
from wms_ops.machine.commands import run_command
from wms_ops.machine.environment import QUIET, plain_environ, storage_environ
from wms_ops.machine.instance import bring_up, is_alive, is_among, mlflow_url, probe_mlflow, s3_url, stop
from wms_ops.machine.processes import MarkedProcess
from wms_ops.machine.record import CloudRecord
from wms_ops.machine.storage import BUCKET, DVC_URL
from wms_ops.machine.types import CloudState, Endpoints, ModelRelease
from wms_ops.machine.waiting import wait_for_mlflow
from wms_ops.machine.workspace import MLFLOW, S3, SERVICE, Workspace

__all__ = ["BUCKET", "DVC_URL", "FOLDER", "LocalCloud", "open_target"]

FOLDER: Final = "cloud"
"""The name of this target's folder in the loop's."""


@dataclass(frozen=True)
class LocalCloud:
    """A `Cloud` in `folder`. `show` hears what goes on; `step`, for tests, each step after it has happened.

    The S3 server stands for the store, which isn't part of the instance: `storage_up` starts it, `down` leaves it,
    `close` stops it, too. All data stays in the folder; whatever is started again goes on with it.
    """

    folder: Path
    show: Callable[[str], None] = field(default=lambda _: None, repr=False)
    step: Callable[[str], None] = field(default=lambda _: None, repr=False)

    @property
    def name(self) -> str:
        """What sentences call it."""
        return "local"

    @property
    def billed(self) -> bool:
        """No process on this machine costs money."""
        return False

    @property
    def needs_account(self) -> bool:
        """Nothing here asks for an account."""
        return False

    def choice(self) -> Choice:
        """The instance of record: what this machine's work would be priced as."""
        return Choice()

    def sessions(self, since: datetime | None = None) -> Sequence[Session]:  # noqa: ARG002 - the protocol's
        """None: nothing is billed."""
        return ()

    def note(self, change: Callable[[Session], Session], since: datetime) -> None:
        """Nothing: no instance here is on record."""

    def for_run(self, run_id: str) -> Self:  # noqa: ARG002 - the protocol's
        """This cloud: it keeps no record of what it starts."""
        return self

    def borrowed(self) -> LocalCloud | None:
        """This cloud with its store left as it is now; None where the folder is missing."""
        if not self.folder.is_dir():
            return None
        return _Borrowed(self.folder, self.show, store_ran=any(one.role == S3 for one in self.workspace.find()))

    @cached_property
    def workspace(self) -> Workspace:
        """Its folder's state and processes."""
        return Workspace(self.folder.absolute(), self.show, self.step)

    def storage_up(self) -> None:
        """Start the S3 server unless it runs, with its bucket. Raises CloudError, DiskFullError, UnwritableError."""
        with self.workspace.locked():
            bring_up(self.workspace, (S3,))

    def up(self) -> Endpoints:
        """Start S3 and MLflow unless they run, and wait until both work. Raises as `storage_up` does."""
        with self.workspace.locked():
            bring_up(self.workspace, (S3, MLFLOW))
            record = self.workspace.read()
            if record.phase is not CloudState.RUNNING:
                record = self.workspace.write(record.model_copy(update={"phase": CloudState.RUNNING}), "running")
            return _endpoints(record, self.workspace.find())

    def wait(self, limit_s: float = 900.0) -> None:
        """Return once MLflow answers, as it does after `up`. Raises CloudError, RegistryUnreachableError."""
        found = self.endpoints()
        if found is None:
            raise self._missing()
        wait_for_mlflow(found.mlflow, limit_s, self.show)

    def status(self) -> CloudState:
        """RUNNING if MLflow answers, ABSENT if nothing of the instance lives. Raises CloudError for a damaged state."""
        record, found = self.workspace.read(), self.workspace.find()
        if all(one.role == S3 for one in found):
            return CloudState.ABSENT
        if record.phase is CloudState.STOPPING:
            return CloudState.STOPPING
        works = is_alive(record, MLFLOW, found) and probe_mlflow(mlflow_url(record))() is None
        return CloudState.RUNNING if works else CloudState.STARTING

    def endpoints(self) -> Endpoints | None:
        """The addresses of MLflow and of what is served; None where no MLflow runs. Raises CloudError."""
        record, found = self.workspace.read(), self.workspace.find()
        if record.phase is CloudState.STOPPING or not is_alive(record, MLFLOW, found):
            return None
        return _endpoints(record, found)

    def environ(self) -> Mapping[str, str]:
        """Variables that lead git hooks, DVC, AWS's and MLflow's clients here; they hold the store's keys.

        MLFLOW_TRACKING_URI is among them from the moment `up` has begun until `down`. Raises CloudError before the
        store's first start.
        """
        record = self.workspace.read()
        identity = seaweed.read_identity(self.workspace.folder / S3)
        if identity is None or not record.s3_ports:
            raise CloudError(f"There is no local cloud here yet; start it with `{self.workspace.command('up')}`.")
        lasting = {**storage_environ(self.workspace.folder, s3_url(record), identity), **QUIET}
        is_instance = record.phase in (CloudState.STARTING, CloudState.RUNNING)
        return lasting | ({"MLFLOW_TRACKING_URI": mlflow_url(record)} if is_instance else {})

    def processes(self) -> Iterator[psutil.Process]:
        """All processes of this cloud: servers, commands, and what those have started."""
        return (one.process for one in self.workspace.find())

    def run(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        log: Path,
        environ: Mapping[str, str] | None = None,
        show: Callable[[str], None] = lambda _: None,
    ) -> int:
        """Run a command beside MLflow; 128 + N is returned after signal N.

        Raises CloudError where nothing is up and for a program that isn't there, DiskFullError, UnwritableError.
        """

        def variables() -> dict[str, str]:
            return {**plain_environ(), **self.environ(), **(environ or {})}

        return run_command(
            self.workspace, command, folder=folder, log=log, begin=self._on_instance, environ=variables, show=show
        )

    def deploy(self, release: ModelRelease) -> str:
        """Serve this release once it's healthy; what was served before is served on if it isn't. Raises CloudError."""
        with self._on_instance():
            return deployment.deploy(self.workspace, release)

    def roll_back(self) -> int | None:
        """Serve what was served before the newest `deploy`; repeated, it stays there. Raises CloudError."""
        with self._on_instance():
            return deployment.roll_back(self.workspace)

    def down(self) -> None:
        """End MLflow, the service and all commands; S3 stays. Raises CloudError if anything of them is left."""
        self._stop((S3,))

    def close(self) -> None:
        """End everything, S3 too; a damaged state is forgotten. Raises CloudError if anything is left."""
        self._stop(())

    def _stop(self, keep: Sequence[str]) -> None:
        if not self.workspace.exists:
            self.workspace.end(self.workspace.find())  # the folder may have been deleted under running processes
            return
        with self.workspace.locked():
            stop(self.workspace, keep)

    def _missing(self) -> CloudError:
        return CloudError(f"The local cloud isn't up; start it with `{self.workspace.command('up')}`.")

    @contextlib.contextmanager
    def _on_instance(self) -> Iterator[None]:
        if not self.workspace.exists:
            raise self._missing()
        with self.workspace.locked():
            record = self.workspace.read()
            if not is_alive(record, MLFLOW, self.workspace.find()):
                raise self._missing()
            self.workspace.end_strays(record)
            yield


@dataclass(frozen=True)
class _Borrowed(LocalCloud):
    """A local cloud that is left as it was found: a store that didn't run before is stopped, too."""

    store_ran: bool = False

    def down(self) -> None:
        """End MLflow, the service and all commands. Raises CloudError if anything is left."""
        if self.store_ran:
            super().down()
        else:
            self.close()


def open_target(folder: Path, show: Callable[[str], None]) -> LocalCloud:
    """The target "local" for the factory; nothing is started."""
    return LocalCloud(folder, show)


def _endpoints(record: CloudRecord, found: Sequence[MarkedProcess]) -> Endpoints:
    served = record.current
    is_served = served is not None and is_among(found, SERVICE, served.pid)
    return Endpoints(mlflow_url(record), deployment.url_of(served) if served and is_served else None)
