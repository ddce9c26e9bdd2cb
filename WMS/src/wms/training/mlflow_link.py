"""Connects a run to MLflow: opens a sink if MLFLOW_TRACKING_URI names a server, and ends the run on the server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wms.config import RunConfig
from wms.settings import PatienceSettings, TrackingSettings
from wms.text import flattened
from wms.training.mlflow_sender import Status
from wms.training.mlflow_sync import MlflowSync
from wms.training.run_folder import METADATA


def open_sync(run_dir: Path, config: RunConfig, metadata: Mapping[str, Any]) -> MlflowSync | None:
    """A sink to the configured MLflow server; None without a server.

    Raises UsageError for a wait that isn't a number.
    """
    uri = TrackingSettings.read().mlflow_tracking_uri
    if not uri:
        return None
    PatienceSettings.read()  # reports a wrong number before hours of training, not after
    tags = {key: str(metadata[key]) for key in ("config_hash", "data_version", "git_commit", "git_dirty")}
    settings = flattened(config.decisions())
    params = {name: json.dumps(value) if isinstance(value, list) else str(value) for name, value in settings}
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
                folder = path.parent.relative_to(artifacts).as_posix()
                sync.add_artifact(path, "" if folder == "." else folder)
        sync.add_artifact(run_dir / "config.json")
        sync.add_artifact(run_dir / METADATA)
    done = sync.finish(status, PatienceSettings.read().wms_mlflow_wait)
    if done.complete:
        return f"MLflow has everything: run {done.run_id}."
    return (
        f"MLflow hasn't taken everything: {done.pending} metrics and {done.artifacts_pending} files wait "
        f"({done.error}). Send them later: wms runs send {run_dir}"
    )
