"""Reads two versions and draws their masks: from MLflow by version or run, or from a run's folder on this disk."""

from __future__ import annotations

import io
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image

from wms.data.images import read_image
from wms.data.masks import read_mask
from wms.data.pairs import Pair, find_pairs
from wms.data.versions import read_items
from wms.errors import ModelDamagedError, ModelNotFoundError, TrackingError, UsageError, WmsError
from wms.files import parse_json, sha256_file, write_atomic
from wms.inference.overlay import BOTH, draw_outline, overlay
from wms.inference.predictor import Predictor
from wms.pictures import data_uri
from wms.registry.compare_page import SHOWN, ComparedModel, Comparison, ImageScore, Panel
from wms.registry.lineage import CARD, DATA, ONNX, SCORES
from wms.registry.mlflow_store import ModelRegistry
from wms.regular import read_regular

SIDE: Final = 360  # pixels of a picture's longer side

Read = Callable[[str], bytes]


@dataclass(frozen=True)
class ComparedVersion:
    """A side of the comparison, and a function that reads the artifacts of its run."""

    side: ComparedModel
    read: Read


def find_version(text: str, runs: Path, registry: ModelRegistry | None) -> ComparedVersion:
    """Find the version named by `text`: a run's folder, a run's name in `runs`, a version such as 3, or an MLflow run.

    Raises ModelNotFoundError for an unknown version or a version without scores, ModelDamagedError for unreadable
    scores, UsageError for a name that only MLflow could know while MLFLOW_TRACKING_URI isn't set.
    """
    for folder in (Path(text), runs / text):
        if (folder / "artifacts" / SCORES).is_file():
            return _version(folder.name, _reader(folder / "artifacts"))
    if registry is None:
        raise UsageError(f"{text!r} is no run's folder here; set MLFLOW_TRACKING_URI to look it up in MLflow.")
    number = text.removeprefix("v")
    if number.isdecimal():
        version = next((one for one in registry.versions() if one.version == int(number)), None)
        if version is None:
            raise ModelNotFoundError(f"The registry at {registry.server} has no version {number}.")
        name, run_id = f"version {number}", version.run_id
    else:
        run = registry.find_run(text)
        name, run_id = run.name, run.run_id
    return _version(name, lambda path: registry.read_artifact(run_id, path))


def draw_panels(
    found: Comparison, before: ComparedVersion, after: ComparedVersion, data: Path
) -> tuple[tuple[Panel, ...], str]:
    """Draw the images that changed most, with both models' masks; a sentence names the number of missing photos.

    `data` holds images/ and masks/; a photo or mask that differs from the tested file is left out.
    """
    chosen = [change.stem for change in found.changes if change.verdict != "equal"][:SHOWN]
    if not chosen:
        return (), "No image changed."
    try:
        pairs = {pair.stem: pair for pair in find_pairs(data)}
    except WmsError:
        pairs = {}
    shown = [stem for stem in chosen if stem in pairs and _is_tested(pairs[stem], after.side)]
    note = "" if len(shown) == len(chosen) else f"{len(chosen) - len(shown)} of {len(chosen)} photos aren't in {data}."
    if not shown:
        return (), f"{note} Run `dvc pull`, or name their folder with --data."
    with tempfile.TemporaryDirectory(prefix="wms-compare-") as scratch:
        models = [_model(version, Path(scratch) / name) for version, name in ((before, "a"), (after, "b"))]
        return tuple(_panel(pairs[stem], found, models) for stem in shown), note


def _reader(folder: Path) -> Read:
    def read(path: str) -> bytes:
        try:
            return read_regular(folder / path)
        except OSError as error:
            raise ModelNotFoundError(f"{folder / path} can't be read: {error.strerror}.") from error

    return read


def _version(name: str, read: Read) -> ComparedVersion:
    try:
        rows: Any = parse_json(read(SCORES))
        scores = {
            str(r["stem"]): ImageScore(float(r["dice"]), float(r["iou"]), float(r.get("loss", math.nan))) for r in rows
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelDamagedError(f"{SCORES} of {name} isn't a list of scores; train it again.") from error
    contents, splits = _contents(read)
    return ComparedVersion(ComparedModel(name, _facts(name, read, splits), scores, contents), read)


def _contents(read: Read) -> tuple[dict[str, str], dict[str, int]]:
    """Photo and mask of each image by their hashes, and the number of images in each split; empty if unknown."""
    try:
        items = read_items(read(DATA).splitlines(), DATA)
    except (ModelNotFoundError, TrackingError):
        return {}, {}
    contents = {item.stem: f"{item.image_sha256} {item.mask_sha256}" for item in items}
    return contents, Counter(item.split for item in items)


def _facts(name: str, read: Read, splits: Mapping[str, int]) -> dict[str, str]:
    labels = {
        "run": "run",
        "parameters": "parameters",
        "input size": "input_size",
        "threshold": "threshold",
        "config": "config_hash",
        "data version": "data_version",
        "Git commit": "git_commit",
        "weights": "weights_sha256",
    }
    try:
        card = parse_json(read(f"model/{CARD}"))
        found = {label: _say(card.get(key)) for label, key in labels.items()}
    except (ValueError, AttributeError) as error:
        raise ModelDamagedError(f"{CARD} of {name} isn't a JSON object; export it again.") from error
    return {**found, **{f"images, {part}": f"{splits[part]:,}" for part in ("train", "val", "test") if part in splits}}


def _say(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    text = "-" if value is None else str(value)
    return text[:12] if len(text) >= 40 and text.isalnum() else text


def _is_tested(pair: Pair, side: ComparedModel) -> bool:
    wanted = side.contents.get(pair.stem)
    return wanted is None or wanted == f"{sha256_file(pair.image)} {sha256_file(pair.mask)}"


def _model(version: ComparedVersion, folder: Path) -> tuple[str, Predictor]:
    for name in (ONNX, CARD):
        write_atomic(folder / name, version.read(f"model/{name}"))
    return version.side.name, Predictor(folder, threads=1)


def _panel(pair: Pair, found: Comparison, models: list[tuple[str, Predictor]]) -> Panel:
    photo, truth = read_image(pair.image), read_mask(pair.mask)
    change = next(change for change in found.changes if change.stem == pair.stem)
    scale = SIDE / max(photo.shape[:2])
    size = (max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale)))
    pictures = [("Photo with the true strip", draw_outline(photo, truth > 127, BOTH))]
    for (name, predictor), score in zip(models, (change.before, change.after), strict=True):
        pictures.append((f"{name}, Dice {score.dice:.3f}", overlay(photo, truth > 127, predictor.predict(photo))))
    return Panel(pair.stem, tuple((label, data_uri(_jpeg(Image.fromarray(p), size))) for label, p in pictures))


def _jpeg(image: Image.Image, size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=82)
    return buffer.getvalue()
