"""Copies a run's metrics and files to an MLflow server; training never waits for the server or fails because of it.

All data is on disk already (`metrics.jsonl` and the files); `mlflow_sync.json` says how much the server has
acknowledged. A thread sends the rest until the server accepts. Sending twice is harmless: MLflow drops a metric that
equals a stored metric in name, value, step and timestamp, and the timestamp is the record's. So a kill of either side
loses and doubles nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tenacity import RetryCallState, Retrying, retry_if_not_exception_type, stop_after_delay
from tenacity.wait import wait_exponential, wait_random

from wms.command import Command, folder, number
from wms.config import RunConfig
from wms.errors import TrackingError
from wms.json_text import to_json
from wms.registry import mlflow_variables
from wms.registry.mlflow_address import wrong_address
from wms.registry.mlflow_calls import reason_of, without_credentials
from wms.settings import PatienceSettings, TrackingSettings
from wms.start import run_renamed
from wms.text import flattened
from wms.training.mlflow_sender import OWN_SETTINGS, STATE_FILE, Sender, Status, SyncReport, SyncState
from wms.training.run_folder import METADATA, tags_of
from wms.training.tracker import MetricRecord

SILENT_S = 5.0
"""After so many seconds without any answer the user is told that the server is silent."""

_log = logging.getLogger("wms")


class MlflowSync:
    """A metric sink that keeps an MLflow run in step with a run's folder, from a separate thread.

    `params` and `tags` are logged once. A folder that was synced before continues the same MLflow run, unless the
    server or the experiment differs. Only `finish` and `close` wait. Raises TrackingError for a damaged
    mlflow_sync.json, DiskFullError or UnwritableError if the file can't be written; the server's failures raise
    nothing.
    """

    def __init__(  # noqa: PLR0917 (the order of a run's address: server, experiment, run)
        self,
        run_dir: Path,
        tracking_uri: str,
        experiment: str,
        run_name: str,
        params: Mapping[str, str],
        tags: Mapping[str, str],
        *,
        longest_wait_s: float = 30.0,
    ) -> None:
        fresh = SyncState(
            tracking_uri=without_credentials(tracking_uri),
            experiment=experiment,
            run_name=run_name,
            params=dict(params),
            tags=dict(tags),
            started_ms=_now_ms(),
        )
        old = SyncState.load(run_dir)
        if old and (old.tracking_uri, old.experiment) == (fresh.tracking_uri, experiment):
            again = {"params": fresh.params, "tags": fresh.tags}
            fresh = old.model_copy(update={**again, "status": None, "ended_ms": None, "finished": False})
        self._sender = Sender(run_dir, fresh, tracking_uri)
        self._sender.update()
        self._backoff = wait_exponential(multiplier=0.5, max=longest_wait_s) + wait_random(0, 0.5)
        self._changed = threading.Condition()
        self._hurry = threading.Event()  # ends a back-off early
        self._asked, self._served = 1, 0  # requests to send, and the last one that was met
        self._working, self._awaited, self._stopping = False, False, False
        self._error: str | None = None
        self._start()

    def push(self, records: Sequence[MetricRecord]) -> None:  # noqa: ARG002 (the sink's signature)
        """Wake the thread, which reads the new records from the file."""
        with self._changed:
            self._asked += 1
            self._changed.notify_all()

    def add_artifact(self, local_path: Path, artifact_dir: str = "") -> None:
        """Queue a file for the folder `artifact_dir` of the MLflow run; call again after the file changes.

        Raises DiskFullError or UnwritableError if the queue can't be recorded.
        """
        self._sender.queue(local_path, artifact_dir)
        self.push(())

    def finish(self, status: Status, timeout_s: float) -> SyncReport:
        """Queue the run's final status after all other data, and wait at most `timeout_s` for its arrival.

        Returns the report; the rest stays on disk for `replay`. Raises DiskFullError or UnwritableError if the status
        can't be recorded.
        """
        self._sender.update(status=status, ended_ms=_now_ms(), finished=False)
        arrived = self._drain(timeout_s)
        report = self.report()
        if not arrived:
            late = f"it hasn't answered within {timeout_s:g} seconds"
            report = replace(report, error=report.error or late)
            command = f"wms runs send {self._sender.run_dir}"
            _log.warning("MLflow doesn't have all of this run; send the rest later with: %s", command)
        return report

    def close(self, timeout_s: float) -> None:
        """Wait up to `timeout_s` for queued data to be sent, then stop the thread. The MLflow run's status stays."""
        self._drain(timeout_s)

    def report(self) -> SyncReport:
        """The progress so far; raises TrackingError for a damaged metrics file."""
        return self._sender.report(self._error)

    def _drain(self, timeout_s: float) -> bool:
        """Wait until all data has arrived, then stop the thread; returns whether all arrived in time."""
        self._start()
        with self._changed:
            self._asked += 1
            goal = self._asked
            self._awaited = True
            self._hurry.set()
            self._changed.notify_all()
            arrived = self._changed.wait_for(lambda: self._served >= goal, timeout_s)
            self._awaited, self._stopping = False, True
            self._changed.notify_all()
        self._hurry.set()
        return arrived

    def _start(self) -> None:
        with self._changed:
            self._stopping = False
            if not self._working:
                self._working = True
                mlflow_variables.acquire(OWN_SETTINGS)
                threading.Thread(target=self._work, name="mlflow-sync", daemon=True).start()

    def _work(self) -> None:
        with contextlib.suppress(ImportError):  # `_failed` reports it
            importlib.import_module("mlflow.tracking")  # slow on a busy machine, which isn't the server's fault
        late = threading.Timer(SILENT_S, self._late)
        late.daemon = True
        late.start()
        retrying = Retrying(
            stop=lambda _: self._stopping, wait=self._wait_s, sleep=self._sleep, after=self._failed, reraise=True
        )
        while (goal := self._next_goal()) is not None:
            with contextlib.suppress(Exception):  # `_failed` has recorded the error
                retrying(self._sender.send_all)
                self._succeeded(goal)

    def _next_goal(self) -> int | None:
        """Wait for data to send; None when the thread must end."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._asked > self._served)
            if self._stopping:
                mlflow_variables.release()
                self._working = False
                return None
            return self._asked

    def _wait_s(self, state: RetryCallState) -> float:
        return min(self._backoff(state), 2.0 if self._awaited else threading.TIMEOUT_MAX)

    def _sleep(self, seconds: float) -> None:
        self._hurry.wait(seconds)
        self._hurry.clear()

    def _failed(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        hint = wrong_address(error) if isinstance(error, Exception) else ""
        self._trouble(reason_of(error) + (f"; {hint.rstrip('.')}" if hint else ""))

    def _late(self) -> None:
        """Tell the user of a server that takes the first connection and stays silent, before requests time out."""
        if self._served == 0 and self._error is None and not self._stopping:
            self._trouble(f"no answer for {SILENT_S:g} seconds")

    def _trouble(self, reason: str) -> None:
        if self._error is None:
            _log.warning(
                "MLflow at %s takes nothing now (%s). Training goes on; what it records waits in %s.",
                self._sender.state.tracking_uri,
                reason,
                self._sender.run_dir,
            )
        self._error = reason

    def _succeeded(self, goal: int) -> None:
        if self._error is not None:
            _log.warning("MLflow at %s is back; it has everything now.", self._sender.state.tracking_uri)
        self._error = None
        with self._changed:
            self._served = goal
            self._changed.notify_all()


def replay(run_dir: Path, timeout_s: float = 60.0) -> SyncReport:
    """Send the unsent data of an ended run, trying for about `timeout_s`.

    Returns the report. A user name and password in MLFLOW_TRACKING_URI are used if the URI names the same server.
    Raises TrackingError if the run was never meant for MLflow or the records are damaged.
    """
    state = SyncState.load(run_dir)
    if state is None:
        raise TrackingError(f"{run_dir} has no {STATE_FILE}, so this run isn't meant for an MLflow server.")
    own = TrackingSettings.read().mlflow_tracking_uri
    same = without_credentials(own) == state.tracking_uri
    sender = Sender(run_dir, state, own if same else state.tracking_uri)
    retrying = Retrying(
        retry=retry_if_not_exception_type(TrackingError),
        stop=stop_after_delay(timeout_s),
        wait=wait_exponential(multiplier=0.5, max=5) + wait_random(0, 0.5),
        reraise=True,
    )
    try:
        with mlflow_variables.held(OWN_SETTINGS):
            retrying(sender.send_all)
    except TrackingError:
        raise
    except Exception as failure:
        return sender.report(reason_of(failure))
    return sender.report(None)


def open_sync(run_dir: Path, config: RunConfig, metadata: Mapping[str, Any]) -> MlflowSync | None:
    """A sink to the configured MLflow server; None without a server.

    Raises UsageError for a wait that isn't a number.
    """
    uri = TrackingSettings.read().mlflow_tracking_uri
    if not uri:
        return None
    PatienceSettings.read()  # reports a wrong number before hours of training, not after
    tags = tags_of(metadata)
    settings = flattened(config.decisions())
    params = {name: to_json(value) if isinstance(value, list) else str(value) for name, value in settings}
    return MlflowSync(run_dir, uri, config.tracking.experiment, run_dir.name, params, tags)


def hand_over(sync: MlflowSync, run_dir: Path, status: Status) -> str:
    """End the run in MLflow, with artifacts if the run finished; returns a sentence for the user.

    Data that the server doesn't accept in WMS_MLFLOW_WAIT seconds (60) stays in the run folder; the sentence names the
    command that sends the rest. Raises UsageError for a wait that isn't a number.
    """
    if status == "FINISHED":
        artifacts = run_dir / "artifacts"
        for path in sorted(artifacts.rglob("*")):
            if path.is_file():
                place = path.parent.relative_to(artifacts).as_posix()
                sync.add_artifact(path, "" if place == "." else place)
        sync.add_artifact(run_dir / "config.json")
        sync.add_artifact(run_dir / METADATA)
    done = sync.finish(status, PatienceSettings.read().wms_mlflow_wait)
    if done.complete:
        return f"MLflow has everything: run {done.run_id}."
    return (
        f"MLflow hasn't taken everything: {done.pending} metrics and {done.artifacts_pending} files wait "
        f"({done.error}). Send them later: wms runs send {run_dir}"
    )


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `wms runs send`."""
    parser.add_argument("run_dir", type=folder, metavar="RUN_DIR", help="the folder that holds metrics.jsonl")
    parser.add_argument("--timeout", type=number(0, 86_400), default=60.0, metavar="SECONDS", help="how long to try")


def run(args: argparse.Namespace) -> int:
    """Send a run's unsent data; returns 0 if all has arrived. Raises TrackingError."""
    report = replay(args.run_dir, args.timeout)
    if not report.complete:
        raise TrackingError(
            f"{report.pending} metrics and {report.artifacts_pending} files of {args.run_dir} still wait for "
            f"MLflow: {report.error}. They are kept; run this again when the server answers."
        )
    print(f"MLflow has all of {args.run_dir}: {report.sent} metrics, as run {report.run_id}.")
    return 0


def _now_ms() -> int:
    return round(time.time() * 1000)


COMMAND = Command("Send to MLflow what a run couldn't send while its server was away.", declare, run)

if __name__ == "__main__":
    sys.exit(run_renamed("wms.training.mlflow_sync", "runs", "send"))
