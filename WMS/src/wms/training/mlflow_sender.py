"""Records what an MLflow run has received, and makes a single attempt to send the rest: no thread, wait or retry.

`mlflow_sync.json` holds how much the server has acknowledged; a `Sender` sends the later records.
`wms.training.mlflow_sync` says why sending twice is harmless, and decides when to try again.
"""

from __future__ import annotations

import logging
import re
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from wms.errors import TrackingError
from wms.files import sha256_file, write_atomic
from wms.metrics import FINAL
from wms.records import StoredRecord
from wms.regular import read_regular
from wms.training.tracker import METRICS_FILE, MetricRecord, read_records

STATE_FILE = "mlflow_sync.json"
KEY_TAG = "wms.run_key"
METRICS_PER_CALL, PARAMS_PER_CALL = 1000, 100  # MLflow's own limits
LONGEST_PARAM, LONGEST_TAG = 6000, 8000  # characters; MLflow refuses longer ones

Status = Literal["FINISHED", "FAILED", "KILLED"]
_log = logging.getLogger("wms")

OWN_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # The default waits for minutes; the retries are ours.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


@dataclass(frozen=True)
class SyncReport:
    """How much of a run the server has: records that arrived or wait, files that wait, and the last failure."""

    sent: int
    pending: int
    artifacts_pending: int
    run_id: str | None
    error: str | None

    @property
    def complete(self) -> bool:
        return self.pending == 0 and self.artifacts_pending == 0 and self.error is None


class SyncState(StoredRecord):
    """The content of mlflow_sync.json: a run's server, and the records and files received. No credentials."""

    tracking_uri: str
    experiment: str
    run_name: str
    params: dict[str, str]
    tags: dict[str, str]
    started_ms: int
    run_key: str = Field(default_factory=lambda: uuid.uuid4().hex)
    run_id: str | None = None
    sent: int = 0
    queued: dict[str, str] = Field(default_factory=dict)
    artifacts: dict[str, str] = Field(default_factory=dict)
    status: Status | None = None
    ended_ms: int | None = None
    finished: bool = False

    @classmethod
    def load(cls, run_dir: Path) -> SyncState | None:
        """The state of a run, None without a state file; raises TrackingError for a damaged file."""
        path = run_dir / STATE_FILE
        try:
            content = read_regular(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TrackingError(f"Can't read {path}: {error.strerror}; move it away to send the run anew.") from error
        return cls.parse(content, str(path), TrackingError, "delete it to send the run to MLflow anew")

    def save(self, run_dir: Path) -> None:
        """Replace the file at once; raises DiskFullError or UnwritableError."""
        write_atomic(run_dir / STATE_FILE, self.model_dump_json(indent=1))


class Sender:
    """Sends all data that the server hasn't acknowledged; each call of `send_all` is a single attempt."""

    def __init__(self, run_dir: Path, state: SyncState, uri: str) -> None:
        self.run_dir, self.state, self._uri = run_dir, state, uri
        self._metrics = run_dir / METRICS_FILE
        self._lock = threading.Lock()
        self._files = dict.fromkeys(state.queued, 0)  # path: how often it was queued
        acknowledged, self._offset = read_records(self._metrics, limit=state.sent)
        if len(acknowledged) < state.sent:  # A power cut lost lines that the server has; new lines may follow.
            self.update(sent=0)
            self._offset = 0
        self._client: Any = None
        self._confirmed = False

    def update(self, **changes: object) -> None:
        """Change the state and record it on disk."""
        with self._lock:
            state = self.state.model_copy(update=changes)
            state.save(self.run_dir)
            self.state = state

    def queue(self, path: Path, folder: str) -> None:
        """Queue a file for `folder` of the run."""
        full = path.resolve()
        home = self.run_dir.resolve()
        name = (full.relative_to(home) if full.is_relative_to(home) else full).as_posix()
        self.update(queued={**self.state.queued, name: folder})
        with self._lock:
            self._files[name] = self._files.get(name, 0) + 1

    def report(self, error: str | None) -> SyncReport:
        """The records and files that have arrived, and those that wait."""
        waiting, _ = read_records(self._metrics, self._offset)
        state = self.state
        return SyncReport(state.sent, len(waiting), len(self._files), state.run_id, error)

    def send_all(self) -> None:
        """Send all waiting data, the final status last. Raises the client's errors."""
        # Set after the last record, so a status read before the records can't overtake a record.
        status = self.state.status
        try:
            run_id = self._ensure_run()
            self._send_metrics(run_id)
            self._send_files(run_id)
            if status is not None and not self.state.finished:
                self._client.set_terminated(run_id, status, self.state.ended_ms)
                self.update(finished=True)
        except Exception:
            self._confirmed = False  # The server may come back as another one.
            raise

    def _ensure_run(self) -> str:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        if self._client is None:
            self._client = MlflowClient(tracking_uri=self._uri)
        run_id = self.state.run_id
        if run_id is not None and self._confirmed:
            return run_id
        run = None
        if run_id is not None:
            try:
                run = self._client.get_run(run_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                self._send_everything_again()
        run = run or self._find_or_create()
        run_id = str(run.info.run_id)
        self.update(run_id=run_id)
        if run.info.status != "RUNNING" and self.state.status is None:
            self._client.update_run(run_id, status="RUNNING")  # A stopped run was resumed.
        self._describe(run_id, run.data.params)
        self._confirmed = True
        return run_id

    def _send_everything_again(self) -> None:
        _log.warning("MLflow has lost the run %s; it is sent again as a new one.", self.state.run_id)
        self.update(run_id=None, sent=0, artifacts={}, finished=False)
        self._offset = 0
        with self._lock:
            self._files = dict.fromkeys(self.state.queued, 0)

    def _find_or_create(self) -> Any:
        """The MLflow run with this run's key. The key is on disk already, so a crash here creates no second run."""
        state = self.state
        experiment = self._client.get_experiment_by_name(state.experiment)
        where = experiment.experiment_id if experiment else self._client.create_experiment(state.experiment)
        found = self._client.search_runs([where], f"tags.`{KEY_TAG}` = '{state.run_key}'", max_results=1)
        if found:
            return found[0]
        tags = {"wms.run_name": state.run_name[:LONGEST_TAG], KEY_TAG: state.run_key}
        return self._client.create_run(where, state.started_ms, tags, state.run_name)

    def _describe(self, run_id: str, known: Mapping[str, str]) -> None:
        """Log the parameters that the run lacks (MLflow never changes a parameter) and the tags."""
        from mlflow.entities import Param, RunTag

        params = {_name(key): value[:LONGEST_PARAM] for key, value in self.state.params.items()}
        if changed := sorted(key for key in params if known.get(key, params[key]) != params[key]):
            _log.warning("MLflow keeps the first values of the parameters %s.", ", ".join(changed))
        new = [Param(key, value) for key, value in params.items() if key not in known]
        tags = [RunTag(_name(key), value[:LONGEST_TAG]) for key, value in self.state.tags.items()]
        for kind, items in (("params", new), ("tags", tags)):
            for start in range(0, len(items), PARAMS_PER_CALL):
                self._client.log_batch(run_id, **{kind: items[start : start + PARAMS_PER_CALL]}, synchronous=True)

    def _send_metrics(self, run_id: str) -> None:
        while True:
            records, offset = read_records(self._metrics, self._offset, METRICS_PER_CALL)
            if not records:
                return
            metrics = [_metric(record) for record in records]
            # Explicit, because an environment variable can make MLflow acknowledge data that wasn't sent.
            self._client.log_batch(run_id, metrics=metrics, synchronous=True)
            self.update(sent=self.state.sent + len(records))
            self._offset = offset

    def _send_files(self, run_id: str) -> None:
        """Send each changed file; a failing file doesn't block the others."""
        failures: list[Exception] = []
        for name, queued in list(self._files.items()):
            path = self.run_dir / name
            try:
                self._send_file(run_id, name, path)
            except FileNotFoundError:
                _log.warning("%s is gone, so it can't be sent to MLflow.", path)
            except Exception as error:
                failures.append(error)
                continue
            with self._lock:
                if self._files.get(name) == queued:  # else it was queued again while it was being sent
                    del self._files[name]
        if failures:
            raise failures[0]

    def _send_file(self, run_id: str, name: str, path: Path) -> None:
        digest = sha256_file(path)
        if self.state.artifacts.get(name) != digest:
            self._client.log_artifact(run_id, str(path), self.state.queued[name] or None)
            self.update(artifacts={**self.state.artifacts, name: digest})


def _metric(record: MetricRecord) -> Any:
    from mlflow.entities import Metric

    prefix = FINAL if record.phase == "test" else f"{record.phase}_"
    step = record.step if record.phase == "system" else record.epoch
    return Metric(_name(f"{prefix}{record.metric}"), record.value, round(record.time * 1000), step)


def _name(name: str) -> str:
    """The name in a form that MLflow accepts: a single refused name would block a whole batch."""
    return re.sub(r"[^A-Za-z0-9_.\- ]", "_", name)[:250]
