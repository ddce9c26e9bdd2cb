"""The download of a run's model, checked by hash, and of the list of the images in its training."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wms.data.versions import DATA_MANIFEST, DataItem, read_items
from wms.errors import CannotDecideError, ModelDamagedError, ModelNotFoundError, TrackingError, UsageError
from wms.files import parse_json, sha256_bytes
from wms.inference.predictor import CARD, ONNX, WEIGHTS, Predictor
from wms.metrics import FINAL_DICE, FINAL_IOU
from wms.registry.gate import refusal
from wms.registry.gate_settings import GateTry
from wms.registry.gate_trust import test_images
from wms.registry.gate_types import GateModel
from wms.registry.lineage import fingerprints
from wms.registry.mlflow_store import ModelRegistry, RunInfo
from wms.registry.types import CHOSEN, TRIED, Means, attempts_of

MODEL_FOLDER: Final = "model"
"""The folder of the model among a run's artifacts."""


@dataclass(frozen=True)
class Contestant:
    """Champion or challenger, ready to predict, with the data of its run."""

    side: GateModel
    items: tuple[DataItem, ...]
    predictor: Predictor


def fetch(registry: ModelRegistry, run: RunInfo, version: int | None) -> Contestant:
    """Download a run's model and its data.jsonl.

    Raises CannotDecideError for a missing, damaged or mismatched artifact; RegistryUnreachableError or RegistryError.
    """
    who = "the challenger" if version is None else f"the Production model, version {version},"
    if run.status != "FINISHED":
        raise refusal(
            f"{who} run {run.name} is {run.status.lower()}, not finished. Wait for its end. If the training itself has "
            f"ended, send the rest of it to MLflow by `wms runs send runs/{run.name}`."
        )
    _refuse_unchosen(run, who)
    predictor, card_sha256 = _load(registry, run, who)
    items, version_of_data = _items(registry, run, who)
    # The tag, the card and the list must agree: else a test image could be one that the model was trained on.
    for where, named in (("run", run.tags.get("data_version")), ("model", predictor.card.get("data_version"))):
        if named != version_of_data:
            raise refusal(
                f"{DATA_MANIFEST} of {who} run {run.name} isn't the data that its {where} names "
                f"({version_of_data[:12]}, not {str(named)[:12]}); restore that artifact, or train again."
            )
    side = GateModel(
        run_id=run.run_id,
        run_name=run.name,
        version=version,
        weights_sha256=predictor.weights_sha256,
        preprocessing=predictor.preprocessing,
        input_size=predictor.input_size,
        stored=_stored(run),
        own_test=frozenset(item.image_sha256 for item in test_images(items)),
        card_sha256=card_sha256,
        attempts=attempts_of(predictor.card),
    )
    return Contestant(side, items, predictor)


def _refuse_unchosen(run: RunInfo, who: str) -> None:
    """Refuse an attempt that validation didn't choose: the test images are asked for the chosen one alone."""
    if (chosen := run.tags.get(CHOSEN)) not in (None, run.name):
        raise refusal(f"{who} run {run.name} is one of several attempts, of which validation chose {chosen}.")


def scored_others(registry: ModelRegistry, run: RunInfo, earlier: Sequence[GateTry]) -> list[str]:
    """Return the names of the run's other attempts with test scores at the registry, or among the `earlier` verdicts.

    Runs that the registry lacks are left out. Raises RegistryUnreachableError, RegistryError.
    """
    try:
        names = {str(one["run"]) for one in parse_json(run.tags.get(TRIED, "[]"))} - {run.name, ""}
    except (ValueError, TypeError, KeyError):  # MLflow cuts a long tag
        return []
    judged = {tried.run_id for tried in earlier}
    scored = []
    for name in sorted(names):
        with contextlib.suppress(ModelNotFoundError, UsageError):  # unknown there, or not the only one of its name
            other = registry.find_run(name)
            if FINAL_DICE in other.metrics or other.run_id in judged:
                scored.append(name)
    return scored


def _load(registry: ModelRegistry, run: RunInfo, who: str) -> tuple[Predictor, str]:
    """Return the run's model and its card's SHA-256; the files are deleted, the model stays in memory."""
    with tempfile.TemporaryDirectory(prefix="wms-gate-") as scratch:
        folder = Path(scratch) / run.name
        try:
            for name in (CARD, WEIGHTS, ONNX):
                registry.download(run.run_id, f"{MODEL_FOLDER}/{name}", folder / name)
            return Predictor(folder), fingerprints({CARD: (folder / CARD).read_bytes()})[CARD]
        except (ModelNotFoundError, ModelDamagedError) as error:
            # The temporary folder means nothing to the reader.
            reason = str(error).replace(f"{folder}", f"{run.name}/{MODEL_FOLDER}")
            raise refusal(f"{who} can't be loaded. {reason}") from error


def _items(registry: ModelRegistry, run: RunInfo, who: str) -> tuple[tuple[DataItem, ...], str]:
    """Return the images that a run used, and the SHA-256 of that list."""
    try:
        content = registry.read_artifact(run.run_id, DATA_MANIFEST)
    except ModelNotFoundError as error:
        raise refusal(
            f"{who} run {run.name} doesn't say which images it was trained on. Train it again, "
            f"or store the manifest that lies beside its run folder, manifests/{run.tags.get('data_version')}.jsonl, "
            f"as its artifact {DATA_MANIFEST}."
        ) from error
    try:
        where = f"{DATA_MANIFEST} of {who} run {run.name}"
        items = tuple(read_items(content.splitlines(), where, CannotDecideError))
    except TrackingError as error:
        raise refusal(f"{DATA_MANIFEST} of {who} run {run.name} is damaged; restore that artifact.") from error
    return items, sha256_bytes(content)


def _stored(run: RunInfo) -> Means | None:
    values = [run.metrics.get(name) for name in (FINAL_DICE, FINAL_IOU)]
    dice, iou = (value if value is not None and 0 <= value <= 1 else None for value in values)
    return None if dice is None or iou is None else Means(dice=dice, iou=iou)
