"""The MLflow server as a registry of models: versions, aliases, runs and their artifacts.

No method decides anything. Every method may be repeated. Each raises, in bounded time,
RegistryUnreachableError (no answer, too late, 5xx), RegistryError (the server refuses) or ModelNotFoundError.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from wms.errors import ModelNotFoundError, RegistryError, UsageError
from wms.files import write_atomic
from wms.loopback import scheme_of
from wms.metrics import FINAL_DICE
from wms.project import project
from wms.registry.mlflow_calls import call, shown
from wms.registry.mlflow_model import MLMODEL, mlflow_files
from wms.registry.mlflow_values import ModelVersion, RunInfo, run_of, version_of
from wms.registry.restored import RESTORED, RunIds
from wms.settings import TRACKING_URI, TrackingSettings

__all__ = ["URI", "ModelRegistry", "ModelVersion", "RunInfo"]

T = TypeVar("T")
URI = TRACKING_URI
_KINDS = ("http", "https", "databricks", "sqlite", "postgresql", "mysql", "mssql")
_RUN_ID = re.compile(r"[0-9a-f]{32}")
_PAGE = 1000


class ModelRegistry:
    """The versions of a registered model on the MLflow server at `uri`, whose credentials are never shown.

    Without a `model` the name in wms.toml counts. Raises UsageError for a `uri` that is no server's or database's
    address, such as a folder.

    >>> ModelRegistry("http://localhost:5000").find_run("run_20261121_103000_0a1b2c3d").status  # doctest: +SKIP
    'FINISHED'
    """

    def __init__(self, uri: str, *, model: str = "") -> None:
        if scheme_of(uri).partition("+")[0] not in _KINDS:
            raise UsageError(f"{URI} is {shown(uri)!r}; give the server's address, such as http://localhost:5000.")
        self.uri, self.model = uri, model or project().model
        self.server = shown(uri)
        self._repositories: dict[str, Any] = {}  # a new one asks the server what it can do
        self._ids = RunIds(lambda: self._client)

    @classmethod
    def from_environment(cls) -> ModelRegistry:
        """The registry that MLFLOW_TRACKING_URI names. Raises UsageError if the variable isn't set."""
        if not (uri := TrackingSettings.read().mlflow_tracking_uri):
            raise UsageError(f"{URI} isn't set; give the address of the MLflow server, such as http://localhost:5000.")
        return cls(uri)

    @classmethod
    def if_named(cls, model: str = "") -> ModelRegistry | None:
        """The registry that MLFLOW_TRACKING_URI names; None if the variable isn't set."""
        uri = TrackingSettings.read().mlflow_tracking_uri
        return cls(uri, model=model) if uri else None

    def versions(self) -> tuple[ModelVersion, ...]:
        """All versions with their aliases, oldest first; empty for an unknown model."""

        def work() -> tuple[ModelVersion, ...]:
            # A search answers without aliases; and to somebody who may not read the model it answers "none".
            names = self._aliases()
            return tuple(sorted((version_of(v, names) for v in self._search()), key=lambda v: v.version))

        return self._call("reading the versions", work)

    def alias(self, name: str) -> ModelVersion | None:
        """The version that has an alias; None if no version has the alias."""

        def work() -> ModelVersion | None:
            # Not by alias: a missing one is answered like an invalid request.
            names = self._aliases()
            return version_of(self._client.get_model_version(self.model, names[name]), names) if name in names else None

        return self._call(f"reading the alias {name}", work)

    def run(self, run_id: str) -> RunInfo:
        """Read a run by its id. Raises ModelNotFoundError, also for a deleted run that can still be restored."""

        def work() -> RunInfo:
            found = self._ids.get(run_id)
            if found.info.lifecycle_stage == "deleted":  # MLflow still answers, but takes no tag
                restore = f"`mlflow runs restore --run-id {run_id}`"
                raise ModelNotFoundError(f"Run {run_id} at {self.server} was deleted; bring it back with {restore}.")
            return run_of(found)

        return self._call(f"reading run {run_id}", work)

    def find_run(self, name_or_id: str) -> RunInfo:
        """Find a run by its id or name. Raises ModelNotFoundError, and UsageError if several runs have the name."""
        if _RUN_ID.fullmatch(name_or_id):
            return self.run(name_or_id)
        odd = re.search(r"['\"`\\]", name_or_id)  # no run's name, and no part of a query either
        words = f"attributes.run_name = '{name_or_id}'"
        found = [] if odd else self._call("looking for a run", self._runs(words))
        if not found:
            raise ModelNotFoundError(f"No run named {name_or_id!r} at {self.server}; was it logged to this server?")
        if len(found) > 1:
            ids = ", ".join(run.run_id for run in found)
            raise UsageError(f"{len(found)} runs at {self.server} are named {name_or_id}; give one's id: {ids}.")
        return found[0]

    def newest_runs(self, most: int) -> list[RunInfo]:
        """The newest `most` finished runs with a test Dice, newest first."""
        words = f"attributes.status = 'FINISHED' and metrics.{FINAL_DICE} >= 0"
        return self._call("reading the newest runs", self._runs(words, most))

    def metric_history(self, run_id: str, name: str) -> list[tuple[int, float, float]]:
        """A metric's values of a run as (step, value, unix seconds), in the order of steps; empty if never logged."""

        def work() -> list[tuple[int, float, float]]:
            found = self._client.get_metric_history(self._ids.present(run_id), name)
            return sorted((int(one.step), float(one.value), one.timestamp / 1000) for one in found)

        return self._call(f"reading {name} of run {run_id}", work)

    def read_artifact(self, run_id: str, path: str) -> bytes:
        """The bytes of a run's artifact. Raises ModelNotFoundError if absent."""
        with tempfile.TemporaryDirectory(prefix="wms-mlflow-", ignore_cleanup_errors=True) as folder:
            root = Path(folder)

            def work() -> bytes:
                # The size is compared, because an interrupted download can look like a complete file.
                size = self._sizes(run_id, path).get(PurePosixPath(path).as_posix())
                if size is None:
                    raise ModelNotFoundError(f"Run {run_id} at {self.server} has no artifact {path}.")
                content = Path(self._artifacts(run_id).download_artifacts(path, folder)).read_bytes()
                if len(content) != size:
                    raise ConnectionError(f"{len(content)} of {size} bytes of {path} arrived")
                return content

            return self._call(f"downloading {path}", work, lambda: _bytes_in(root))

    def download(self, run_id: str, path: str, target: Path) -> None:
        """Write a run's artifact to `target` atomically. Raises ModelNotFoundError, DiskFullError, UnwritableError."""
        write_atomic(target, self.read_artifact(run_id, path))

    def write_artifact(self, run_id: str, path: str, content: bytes) -> None:
        """Store bytes as a run's artifact; replaces an artifact of the same path."""
        where = PurePosixPath(path)
        folder = where.parent.as_posix()
        with tempfile.TemporaryDirectory(prefix="wms-mlflow-") as scratch:
            local = Path(scratch) / where.name
            local.write_bytes(content)
            work = lambda: self._artifacts(run_id).log_artifact(str(local), None if folder == "." else folder)  # noqa: E731
            self._call(f"storing {path}", work)

    def set_run_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run, all of them in a single request."""

        def work() -> None:
            from mlflow.entities import RunTag

            given = [RunTag(key, value) for key, value in tags.items()]
            self._client.log_batch(self._ids.present(run_id), tags=given)

        self._call("setting a run's tags", work)

    def absent_artifacts(self, run_id: str, paths: Sequence[str]) -> tuple[str, ...]:
        """Return those of `paths` that a run lacks."""
        return self._call(
            "looking for artifacts",
            lambda: tuple(path for path in paths if PurePosixPath(path).as_posix() not in self._sizes(run_id, path)),
        )

    def register(self, run_id: str, tags: Mapping[str, str] | None = None) -> ModelVersion:
        """Return a run's version, registered with `tags` if new; of several the first, so that all callers agree."""

        def work() -> ModelVersion:
            if not (known := self._search(run_id)):
                return version_of(self._create(run_id, tags or {}), {})
            return version_of(min(known, key=lambda v: int(v.version)), self._aliases())

        self.describe(run_id)
        return self._call("registering a version", work)

    def describe(self, run_id: str) -> None:
        """Store the files for `mlflow.pyfunc.load_model` beside a run's model, unless present."""
        if self.absent_artifacts(run_id, [f"model/{MLMODEL}"]):
            for name, content in mlflow_files(run_id, self.run(run_id).ended_at or "").items():
                self.write_artifact(run_id, f"model/{name}", content)

    def add_version(self, run_id: str, tags: Mapping[str, str]) -> ModelVersion:
        """Add a version together with its `tags`; a lost answer may add the version twice."""

        return self._call("adding a version", lambda: version_of(self._create(run_id, tags), {}))

    def set_version_tags(self, version: int, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""

        def work() -> None:
            for key, value in tags.items():
                self._client.set_model_version_tag(self.model, str(version), key, value)

        self._call(f"setting the tags of version {version}", work)

    def set_alias(self, name: str, version: int) -> None:
        """Give an alias to a version, away from any other version: MLflow has no compare-and-set."""
        work = lambda: self._client.set_registered_model_alias(self.model, name, str(version))  # noqa: E731
        self._call(f"setting the alias {name}", work)

    def delete_alias(self, name: str) -> None:
        """Delete an alias; an absent alias is no error."""

        def work() -> None:
            if name in self._aliases():
                self._client.delete_registered_model_alias(self.model, name)

        self._call(f"deleting the alias {name}", work)

    @cached_property
    def _client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def _call(self, what: str, work: Callable[[], T], progress: Callable[[], int] | None = None) -> T:
        return call(self.server, what, work, progress)

    def _aliases(self) -> dict[str, str]:
        from mlflow.exceptions import MlflowException

        try:
            found = self._client.get_registered_model(self.model)
            if found.name != self.model:  # an empty answer, for example, would read as "nothing was ever promoted"
                raise RegistryError(f"{self.server} answers, but not as an MLflow server does; look at {URI}.")
            return dict(found.aliases)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return {}

    def _search(self, run_id: str | None = None) -> list[Any]:
        found: list[Any] = []
        words = f"name='{self.model}'" + (f" and run_id='{self._ids.present(run_id)}'" if run_id else "")
        token = None
        while token != "":  # nosec B105 - the mark of the last page
            page = self._client.search_model_versions(words, max_results=_PAGE, page_token=token)
            found += page
            token = page.token or ""
        return found

    def _create(self, run_id: str, tags: Mapping[str, str]) -> Any:
        from mlflow.exceptions import MlflowException

        source, present = f"{self._run(run_id).artifact_uri}/model", self._ids.present(run_id)
        own = dict(tags) | ({} if present == run_id else {RESTORED: run_id})
        create = partial(self._client.create_model_version, self.model, source, present, tags=own, await_creation_for=0)
        try:
            return create()
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
        try:
            # Another process may create the model at the same moment.
            self._client.create_registered_model(self.model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return create()

    def _run(self, run_id: str) -> RunInfo:
        return run_of(self._ids.get(run_id))

    def _runs(self, words: str, most: int = _PAGE) -> Callable[[], list[RunInfo]]:
        def work() -> list[RunInfo]:
            where = [experiment.experiment_id for experiment in self._client.search_experiments(max_results=_PAGE)]
            return [run_of(run) for run in self._client.search_runs(where, words, max_results=most)]

        return work

    def _artifacts(self, run_id: str) -> Any:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        if run_id not in self._repositories:
            where = self._run(run_id).artifact_uri
            self._repositories[run_id] = get_artifact_repository(where, tracking_uri=self.uri)
        return self._repositories[run_id]

    def _sizes(self, run_id: str, path: str) -> dict[str, int]:
        """List the files in an artifact's folder; only this tells a missing artifact from a failed download."""
        folder = PurePosixPath(path).parent.as_posix()
        infos = self._artifacts(run_id).list_artifacts(None if folder == "." else folder)
        return {info.path: info.file_size or 0 for info in infos if not info.is_dir}


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
