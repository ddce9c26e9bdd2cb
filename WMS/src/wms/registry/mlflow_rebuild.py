"""Builds runs and versions anew on an MLflow server that has lost them. Every method may be repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from wms.errors import RegistryError
from wms.loopback import scheme_of
from wms.project import project
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.plan import STATUS
from wms.registry.restored import COPY, LOST, RESTORED

_BATCH = 100  # MLflow's limit for parameters and tags in a request
_PAGE = 1000


@dataclass(frozen=True)
class PastRun:
    """A lost run as ledger and artifacts tell of it; times are unix milliseconds."""

    run_id: str
    name: str
    experiment: str
    started_ms: int
    ended_ms: int
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)


MARK = "lost-versions"
"""The id of the empty run of versions that only keep the number of a lost version."""


def missing_database(uri: str) -> Path | None:
    """Return the SQLite database of a tracking URI if the first question to MLflow would make it; else None.

    >>> missing_database("sqlite:///no-such.db").name, missing_database("http://localhost:5000")
    ('no-such.db', None)
    """
    name = uri.partition(":///")[2].partition("?")[0]
    if scheme_of(uri).partition("+")[0] != "sqlite" or not name or name.startswith((":memory:", "file:")):
        return None
    path = Path(name)
    return None if path.exists() and path.stat().st_size else path


class RebuiltRegistry(ModelRegistry):
    """A registry with the requests that only a restore makes."""

    def has_run(self, run_id: str) -> bool:
        """Whether the server has a run, under its own id or restored, finished."""
        from mlflow.exceptions import MlflowException

        def work() -> bool:
            try:
                found = self._ids.get(run_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return False
            return bool(found.info.status == "FINISHED")

        return self._call(f"looking for run {run_id}", work)

    def known_runs(self) -> frozenset[str]:
        """The ids of all runs that the server has, deleted ones too, and the former ids of restored runs."""

        def work() -> frozenset[str]:
            from mlflow.entities import ViewType

            client, token, found = self._client, "", set[str]()
            where = [one.experiment_id for one in client.search_experiments(ViewType.ALL, max_results=_PAGE)]
            while where:
                page = client.search_runs(where, "", ViewType.ALL, max_results=_PAGE, page_token=token or None)
                found |= {str(name) for run in page for name in (run.info.run_id, run.data.tags.get(RESTORED)) if name}
                if not (token := page.token or ""):
                    break
            return frozenset(found)

        return self._call("reading the runs", work)

    def add_run(self, past: PastRun) -> None:
        """Make a lost run anew, or complete the one of a killed restore; the run is FINISHED last."""
        self._call(f"making run {past.name} anew", lambda: self._begin(past))
        self.add_files(replace(past, files={**past.files, COPY: past.run_id.encode()}) if past.files else past)

        def end() -> None:
            self._client.set_terminated(self._ids.present(past.run_id), "FINISHED", past.ended_ms)

        self._call(f"ending run {past.name}", end)

    def add_files(self, past: PastRun) -> None:
        """Store those of a run's files that the server lacks."""
        for path in self.absent_artifacts(past.run_id, sorted(past.files)):
            self.write_artifact(past.run_id, path, past.files[path])

    def add_mark_run(self) -> None:
        """Make the empty run MARK, unless present."""
        self.add_run(PastRun(MARK, "lost versions", project().experiment, 0, 0, {}, {}, {}))

    def fill(self, number: int, run_id: str) -> None:
        """Make version `number` of a run; of the run MARK as a mark in place of a version that no record knows.

        Raises RegistryError if the server gives the version another number.
        """

        def work() -> None:
            present = {int(one.version): one for one in self._search()}
            if number not in present:
                made = self._create(run_id, {STATUS: LOST} if run_id == MARK else {})
                present[int(made.version)] = made
            found = present.get(number)
            if found is None or found.tags.get(RESTORED, found.run_id) != run_id:
                raise RegistryError(
                    f"Version {number} of {self.model} at {self.server} is another one than the ledger's: somebody "
                    "else registers versions there. Delete this registered model in MLflow if it holds nothing that "
                    "you need, then run `wms restore` again."
                )

        self._call(f"making version {number} anew", work)

    def _begin(self, past: PastRun) -> None:
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.exceptions import MlflowException

        try:
            run = self._ids.get(past.run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            where, known_as = self._experiment(past.experiment), {RESTORED: past.run_id}
            run = self._client.create_run(where, past.started_ms, known_as, past.name)
        run_id = run.info.run_id
        params = [Param(key, value) for key, value in past.params.items() if key not in run.data.params]
        tags = [RunTag(key, value) for key, value in past.tags.items()]
        for start in range(0, len(params), _BATCH):
            self._client.log_batch(run_id, params=params[start : start + _BATCH], synchronous=True)
        metrics = [Metric(key, value, past.ended_ms, 0) for key, value in past.metrics.items()]
        self._client.log_batch(run_id, metrics=metrics, tags=tags, synchronous=True)

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        try:
            found = self._client.get_experiment_by_name(name)
            return str(found.experiment_id if found else self._client.create_experiment(name))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return str(self._client.get_experiment_by_name(name).experiment_id)  # another process made it meanwhile
