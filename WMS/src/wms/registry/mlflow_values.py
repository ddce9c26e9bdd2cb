"""The registry's answers: versions and runs as frozen values, free of MLflow's own types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from wms.registry.restored import RESTORED


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A registered version; `created_at` is UTC, ISO 8601; `stage` is MLflow 2's stage, "None" without a stage.

    `source` is the folder from which MLflow loads the version; a registered version can't get another one.
    """

    version: int
    run_id: str
    aliases: tuple[str, ...]
    tags: dict[str, str]
    created_at: str
    status: str
    stage: str = "None"
    source: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A training run; `status` is MLflow's, such as FINISHED; `ended_at` is UTC, ISO 8601, None during the run."""

    run_id: str
    name: str
    status: str
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]
    ended_at: str | None = None
    artifact_uri: str = field(default="", repr=False)


def version_of(found: Any, aliases: Mapping[str, str]) -> ModelVersion:
    """Convert MLflow's version; `aliases` are those of all versions, by name."""
    mine = tuple(sorted(name for name, version in aliases.items() if str(version) == str(found.version)))
    created = _iso(found.creation_timestamp)
    stage = str(getattr(found, "current_stage", None) or "None")  # deprecated: a later MLflow may lack it
    return ModelVersion(
        version=int(found.version),
        run_id=str(found.tags.get(RESTORED) or found.run_id or ""),
        aliases=mine,
        tags=dict(found.tags),
        created_at=created,
        status=str(found.status),
        stage=stage,
        source=str(found.source or "").rstrip("/"),
    )


def run_of(run: Any) -> RunInfo:
    """Convert MLflow's run."""
    info, data = run.info, run.data
    return RunInfo(
        run_id=str(data.tags.get(RESTORED) or info.run_id),
        name=str(info.run_name),
        status=str(info.status),
        tags=dict(data.tags),
        params=dict(data.params),
        metrics=dict(data.metrics),
        ended_at=_iso(info.end_time) if info.end_time else None,
        artifact_uri=str(info.artifact_uri).rstrip("/"),
    )


def _iso(milliseconds: int) -> str:
    """The time in ISO 8601; empty for one of no calendar, which any client may have given to a run."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return ""
