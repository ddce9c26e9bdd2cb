"""Collects the facts of a run that a promotion needs: hashes of the exact bytes to be served, and their origin."""

from __future__ import annotations

import contextlib
from pathlib import PurePosixPath
from typing import Any

from wms.data.versions import read_items
from wms.errors import LineageError, ModelDamagedError, ModelNotFoundError
from wms.files import parse_json, sha256_bytes
from wms.registry.lineage import DATA, ORIGIN, fingerprints
from wms.registry.metadata import run_means
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.plan import PromotionFacts
from wms.registry.types import attempts_of

WEIGHTS, ONNX, CARD = "model/production.pth", "model/production.onnx", "model/production.json"
METADATA = "metadata.json"


def gather(registry: ModelRegistry, run_id: str) -> PromotionFacts:
    """Download and hash a finished run's artifacts.

    Raises ModelNotFoundError for a run that didn't finish or lacks an artifact, ModelDamagedError if an artifact
    differs from its card, LineageError if the list of images differs from the run's data version.
    """
    run = registry.run(run_id)
    if run.status != "FINISHED":
        raise ModelNotFoundError(f"Run {run_id} is {run.status}, not FINISHED; only a finished run can be promoted.")
    card = _json(registry, run_id, CARD)
    hashes = {}
    for path, key in ((WEIGHTS, "weights_sha256"), (ONNX, "onnx_sha256")):
        hashes[key] = sha256_bytes(registry.read_artifact(run_id, path))
        if hashes[key] != card.get(key):
            raise ModelDamagedError(f"{path} of run {run_id} isn't the file that {CARD} describes; train it again.")
    version = run.tags.get("data_version", "")
    own = {DATA: registry.read_artifact(run_id, DATA)}
    if sha256_bytes(own[DATA]) != version:
        raise LineageError(f"{DATA} of run {run_id} isn't the list of data version {version[:12] or 'unknown'}.")
    for path in (CARD, *ORIGIN):
        with contextlib.suppress(ModelNotFoundError):  # runs of other tools needn't keep a recipe or scores
            own[PurePosixPath(path).name] = registry.read_artifact(run_id, path)
    return PromotionFacts(
        run_id=run_id,
        **hashes,
        measured=run_means(run, registry.server),
        git_commit=run.tags.get("git_commit", ""),
        config_hash=run.tags.get("config_hash", ""),
        data_version=version,
        training_data_count=count_training(own[DATA]),
        data_set_count=len(read_items(own[DATA].splitlines(), DATA)),
        trained_at=str(_json(registry, run_id, METADATA).get("finished_at") or run.ended_at or ""),
        attempts=attempts_of(card),
        files=fingerprints(own),
    )


def _json(registry: ModelRegistry, run_id: str, path: str) -> dict[str, Any]:
    try:
        values: Any = parse_json(registry.read_artifact(run_id, path))
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise ModelDamagedError(f"{path} of run {run_id} is damaged; train it again.")
    return values


def count_training(content: bytes) -> int:
    """Count the training images in a run's data.jsonl. Raises TrackingError for a damaged file."""
    return sum(item.split == "train" for item in read_items(content.splitlines(), DATA))
