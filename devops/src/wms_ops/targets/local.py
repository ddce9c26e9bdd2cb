"""The cloud on this machine: S3, MLflow and the service as processes on loopback, without any account."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Final, Self

import psutil

from wms_ops.base.errors import CloudError
from wms_ops.cost.prices import Choice
from wms_ops.cost.sessions import Session
from wms_ops.machine import deployment, seaweed
from wms_ops.machine.answers import probe_mlflow, wait_for_mlflow
from wms_ops.machine.commands import run_command
from wms_ops.machine.environment import QUIET, plain_environ, storage_environ
from wms_ops.machine.instance import bring_up, living, mlflow_url, s3_url, stop
from wms_ops.machine.processes import MarkedProcess
from wms_ops.machine.record import CloudRecord
from wms_ops.machine.storage import BUCKET, DVC_URL
from wms_ops.machine.types import CloudState, Endpoints, ModelRelease
from wms_ops.machine.workspace import MLFLOW, S3, SERVICE, Workspace, named
from wms_ops.storage.bucket import Bucket
from wms_ops.storage.config import URL_VARIABLE, RemoteConfig
from wms_ops.storage.names import RUNS
from wms_ops.storage.remote import S3Remote

__all__ = ["BUCKET", "DVC_URL", "FOLDER", "LocalCloud", "open_target"]

FOLDER: Final = "cloud"
"""The name of this target's folder within the loop's."""


@dataclass(frozen=True)
class LocalCloud:
    """A `Cloud` in `folder`. `show` hears sentences; `step`, for tests, the name of each step after its end.

    The S3 server stands for the store, which isn't part of the instance: `storage_up` starts the server, `down` leaves
    it running, `close` stops it. All data stays in the folder, and a restarted server goes on with it.
    """

    name: ClassVar = "local"
    billed: ClassVar = False
    needs_account: ClassVar = False

    folder: Path
    show: Callable[[str], None] = field(default=lambda _: None, repr=False)
    step: Callable[[str], None] = field(default=lambda _: None, repr=False)

    def choice(self) -> Choice:
        """The instance of record: the price of this machine's work at AWS."""
        return Choice()

    def sessions(self, since: datetime | None = None) -> Sequence[Session]:  # noqa: ARG002 - the protocol's
        """No sessions, since nothing is billed."""
        return ()

    def note(self, change: Callable[[Session], Session], since: datetime) -> None:
        """Do nothing: no instance of this target is on record."""

    def records(self) -> tuple[Bucket, str]:
        """The store's own bucket. Raises CloudError before the store's first start."""
        variables = self.environ()
        remote = RemoteConfig(BUCKET, endpoint_url=s3_url(self.workspace.read()))
        return S3Remote(remote, variables).bucket, f"{RUNS}/"

    def for_run(self, run_id: str) -> Self:  # noqa: ARG002 - the protocol's
        """This cloud, which keeps no record of its instances."""
        return self

    def borrowed(self) -> LocalCloud | None:
        """This cloud with its store left in the present state; None without the folder."""
        if not self.folder.is_dir():
            return None
        return _Borrowed(self.folder, self.show, store_ran=any(marked.role == S3 for marked in self.workspace.find()))

    @cached_property
    def workspace(self) -> Workspace:
        """The folder's state and processes."""
        return Workspace(self.folder.absolute(), self.show, self.step)

    def storage_up(self) -> None:
        """Start the S3 server unless running, with its bucket. Raises CloudError, DiskFullError, UnwritableError."""
        with self.workspace.locked():
            bring_up(self.workspace, (S3,))

    def up(self) -> Endpoints:
        """Start S3 and MLflow unless running, and wait until both work. Raises as `storage_up` does."""
        with self.workspace.locked():
            bring_up(self.workspace, (S3, MLFLOW))
            record = self.workspace.read()
            if record.phase is not CloudState.RUNNING:
                record = self.workspace.write(record.model_copy(update={"phase": CloudState.RUNNING}), "running")
            return _endpoints(record, self.workspace.find())

    def wait(self, limit_s: float = 900.0) -> None:
        """Return once MLflow answers, as MLflow does after `up`. Raises CloudError, RegistryUnreachableError."""
        found = self.endpoints()
        if found is None:
            raise self._missing()
        wait_for_mlflow(found.mlflow, limit_s, self.show)

    def status(self) -> CloudState:
        """RUNNING if MLflow answers, ABSENT if the instance has no process. Raises CloudError for a damaged state."""
        record, found = self.workspace.read(), self.workspace.find()
        if all(marked.role == S3 for marked in found):
            return CloudState.ABSENT
        if record.phase is CloudState.STOPPING:
            return CloudState.STOPPING
        works = living(record, MLFLOW, found) and probe_mlflow(mlflow_url(record))() is None
        return CloudState.RUNNING if works else CloudState.STARTING

    def endpoints(self) -> Endpoints | None:
        """The addresses of MLflow and of a served release; None without MLflow. Raises CloudError."""
        record, found = self.workspace.read(), self.workspace.find()
        if record.phase is CloudState.STOPPING or not living(record, MLFLOW, found):
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
        store = storage_environ(self.workspace.folder, s3_url(record), identity)
        lasting = {URL_VARIABLE: DVC_URL, **store, **QUIET}
        is_instance = record.phase in (CloudState.STARTING, CloudState.RUNNING)
        return lasting | ({"MLFLOW_TRACKING_URI": mlflow_url(record)} if is_instance else {})

    def processes(self) -> Iterator[psutil.Process]:
        """All processes of this cloud: servers, commands, and their children."""
        return (marked.process for marked in self.workspace.find())

    def run(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        log: Path,
        environ: Mapping[str, str] | None = None,
        show: Callable[[str], None] = lambda _: None,
    ) -> int:
        """Run a command beside MLflow; returns the exit code, 128 + N after signal N.

        Raises CloudError without an instance and for a missing program, DiskFullError, UnwritableError.
        """

        def variables() -> dict[str, str]:
            return {**plain_environ(), **self.environ(), **(environ or {})}

        return run_command(
            self.workspace, command, folder=folder, log=log, begin=self._on_instance, environ=variables, show=show
        )

    def deploy(self, release: ModelRelease) -> str:
        """Serve this release once healthy; else the release before is served on. Raises CloudError."""
        with self._on_instance():
            return deployment.deploy(self.workspace, release)

    def roll_back(self) -> int | None:
        """Serve the release from before the newest `deploy`; a second call changes nothing. Raises CloudError."""
        with self._on_instance():
            return deployment.roll_back(self.workspace)

    def down(self) -> None:
        """End MLflow, the service and all commands; S3 stays. Raises CloudError if a process of them is left."""
        self._stop((S3,))

    def close(self) -> None:
        """End all processes, S3 too; a damaged state is dropped. Raises CloudError if a process is left."""
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
            if not living(record, MLFLOW, self.workspace.find()):
                raise self._missing()
            self.workspace.end_strays(record)
            yield


@dataclass(frozen=True)
class _Borrowed(LocalCloud):
    """A local cloud that is left as it was found: a store that didn't run before is stopped, too."""

    store_ran: bool = False

    def down(self) -> None:
        """End MLflow, the service and all commands. Raises CloudError if a process is left."""
        if self.store_ran:
            super().down()
        else:
            self.close()


def open_target(folder: Path, show: Callable[[str], None]) -> LocalCloud:
    """The target "local" for the factory; no process starts."""
    return LocalCloud(folder, show)


def _endpoints(record: CloudRecord, found: Sequence[MarkedProcess]) -> Endpoints:
    served = record.current
    lives = served is not None and named(found, SERVICE, served.pid) is not None
    return Endpoints(mlflow_url(record), deployment.url_of(served) if served and lives else None)
