"""model-metadata.json, which only `write_metadata` writes; and the Dice and IoU that a new model has to beat."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from wms.errors import ModelDamagedError, ModelNotFoundError
from wms.files import write_atomic
from wms.formats import refuse_newer
from wms.metrics import FINAL_DICE, FINAL_IOU
from wms.paths import ROOT
from wms.records import StoredRecord
from wms.registry.chain import RegistryLedger
from wms.registry.ledger import Ledger, LedgerEntry
from wms.registry.mlflow_store import ModelRegistry, RunInfo
from wms.registry.standing import read_standing
from wms.registry.types import MODEL, Means

METADATA = ROOT / "model-metadata.json"


class ModelMetadata(StoredRecord):
    """The content of model-metadata.json: the first seven keys are a contract. Times are UTC, ISO 8601.

    `baseline` has the means of the former Production on the same test images; `github_run` is empty outside of GitHub.
    """

    model_version: int
    run_id: str
    metrics: Means
    baseline: Means
    trained_at: str
    training_data_count: int
    github_run: str
    promoted_at: str
    weights_sha256: str
    onnx_sha256: str
    data_version: str
    config_hash: str
    git_commit: str


def metadata_of(entry: LedgerEntry) -> ModelMetadata:
    """The content of model-metadata.json after a ledger entry."""
    known = entry.model_dump(include=set(ModelMetadata.model_fields))
    return ModelMetadata(model_version=entry.to_version, promoted_at=entry.at, **known)


def write_metadata(entry: LedgerEntry, path: Path = METADATA) -> bool:
    """Write the entry to `path`; returns whether the file changed.

    Fields that a later version has written about the same promotion stay. Raises ModelDamagedError for a file of a
    newer format, DiskFullError, UnwritableError.
    """
    values = metadata_of(entry).model_dump(mode="json")
    stored = path.read_bytes() if path.is_file() else b""
    before = _object(stored)
    refuse_newer(before, str(path), ModelDamagedError)
    if all(before.get(key) == values[key] for key in ("model_version", "run_id", "promoted_at")):
        values |= {key: value for key, value in before.items() if key not in values}
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    if stored == text.encode():
        return False
    write_atomic(path, text)
    return True


def _object(content: bytes) -> dict[str, Any]:
    """A JSON object; empty if the content is no JSON object."""
    with contextlib.suppress(ValueError):
        if isinstance(values := json.loads(content), dict):
            return values
    return {}


def run_means(run: RunInfo, server: str) -> Means:
    """The Dice and IoU that a run logged for its test images. Raises ModelNotFoundError if either is missing."""
    try:
        return Means(dice=run.metrics[FINAL_DICE], iou=run.metrics[FINAL_IOU])
    except (KeyError, ValueError):
        raise ModelNotFoundError(
            f"Run {run.run_id} at {server} has no usable {FINAL_DICE} and {FINAL_IOU}; has it finished?"
        ) from None


def baseline(uri: str | None, ledger: Ledger, model: str = MODEL) -> dict[str, Any]:
    """Production's version, run_id, dice and iou: from the registry at `uri`, or from the ledger if `uri` is None.

    Zeros, a version of None and a note only if nothing was ever Production. Raises LedgerError if the Production
    version is uncertain, RegistryUnreachableError and RegistryError rather than answering with zeros;
    ModelNotFoundError.

    >>> baseline(None, Ledger())  # doctest: +SKIP
    {'version': 3, 'run_id': '0a1b...', 'dice': 0.9441, 'iou': 0.8950}
    """
    entry: LedgerEntry | None
    if uri is None:
        if (entry := ledger.current()) is None:
            return _none(f"{ledger.history} has no entry and MLFLOW_TRACKING_URI isn't set")
        return _found(entry.to_version, entry.run_id, entry.metrics)
    registry = ModelRegistry(uri, model=model)
    standing = read_standing(registry, RegistryLedger(uri, model), ledger)
    if (version := standing.production) is None:
        return _none(f"nothing was ever promoted at {registry.server}")
    if (entry := standing.chain.about(version)) is not None:
        return _found(version, entry.run_id, entry.metrics)
    found = next(one for one in registry.versions() if one.version == version)
    return _found(version, found.run_id, run_means(registry.run(found.run_id), registry.server))


def _found(version: int, run_id: str, means: Means) -> dict[str, Any]:
    return {"version": version, "run_id": run_id, **means.model_dump()}


def _none(why: str) -> dict[str, Any]:
    return {"version": None, "run_id": None, "dice": 0.0, "iou": 0.0, "note": f"There is no Production model: {why}."}


def baseline_json(uri: str | None, ledger: Ledger, model: str = MODEL) -> str:
    """`baseline` as a line of JSON."""
    return json.dumps(baseline(uri, ledger, model))
