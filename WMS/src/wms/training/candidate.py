"""The trained model that waits for the gate: a run that survives kills, and the run's copy in a fixed folder.

A run's folder has a date in the name, but `dvc repro` needs outputs with fixed names. So a finished run is copied to a
candidate folder. During training, a note beside the runs says which run belongs to which recipe, data and code: after a
kill, the next repro continues that run instead of starting another.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from wms.config import RunConfig, parse_config
from wms.errors import CheckpointError, ModelDamagedError, ModelNotFoundError, ResumeMismatchError, from_os_error
from wms.files import canonical_json, object_in, parse_json, sha256_file, sha256_text, write_atomic
from wms.inference.predictor import CARD, ONNX, WEIGHTS, read_card
from wms.json_text import to_json
from wms.links import refuse_links
from wms.regular import read_regular
from wms.training.attempts_file import PREFIX
from wms.training.request import Request
from wms.training.run_folder import METADATA
from wms.training.train import run_training

NOTE: Final = "dvc_repro.json"
CONFIG: Final = "config.json"

# Where each file of a candidate comes from, relative to the run's folder.
PARTS: Final[Mapping[str, str]] = {
    **{name: f"artifacts/model/{name}" for name in (WEIGHTS, ONNX, CARD)},
    **{name: f"artifacts/{name}" for name in ("report.html", "test_scores.json")},
    **{name: name for name in (CONFIG, METADATA)},
}

CODE: Final = (
    "config_sections.py",
    "data/augment.py",
    "data/bare.py",
    "data/cache.py",
    "data/dataset.py",
    "data/guard.py",
    "data/images.py",
    "data/kinds.py",
    "data/mask_edges.py",
    "data/mask_values.py",
    "data/masks.py",
    "data/preprocessing.py",
    "inference/export.py",
    "inference/second_look.py",
    "losses.py",
    "metrics.py",
    "models",
    "training/attempts.py",
    "training/attempts_file.py",
    "training/distributed.py",
    "training/evaluation.py",
    "training/loop.py",
    "training/position.py",
    "training/schedule.py",
)
"""The files and folders of this package that decide a candidate's bytes; dvc.yaml names the same ones."""


def train_candidate(config: RunConfig, target: Path, *, runs: Path, data_version: str, device: str = "auto") -> Path:
    """Train in a folder of `runs`, or continue the run of an earlier call, and copy the run to `target`.

    `data_version` is the version that was prepared. Returns the run's folder. Raises ResumeMismatchError if the data
    has changed since, and the errors of `run_training`.
    """
    note = runs / NOTE
    identity = identify(config, data_version)
    run = _begun(note, identity, config)
    if run is not None and not object_in(run / METADATA).get("finished_at"):
        run = _continue(run, config, device)
    if run is None:
        earlier = sorted(path.name for pattern in ("run_*", f"{PREFIX}*") for path in runs.glob(pattern))
        write_atomic(note, to_json({"identity": identity, "earlier": earlier}) + "\n")
        run = _train(config, Request(runs=runs, device=device))
    found = str(object_in(run / METADATA).get("data_version"))
    if found != data_version:
        raise ResumeMismatchError(
            f"The data set changed while it was used: {data_version[:8]} was prepared, but {run.name} saw "
            f"{found[:8]}; run `dvc repro` again."
        )
    export_candidate(run, target)
    note.unlink(missing_ok=True)
    return run


def identify(config: RunConfig, data_version: str) -> str:
    """Sha256 of the recipe, the data, and the files of CODE, which together decide a candidate."""
    package = Path(__file__).resolve().parents[1]
    files = [path for name in CODE for path in (sorted((package / name).glob("*.py")) or [package / name])]
    return sha256_text(canonical_json([config.hash, data_version, *map(sha256_file, files)]))


def export_candidate(run: Path, target: Path) -> None:
    """Replace `target` by a copy of the run's results, completely or not at all.

    Raises ModelDamagedError if the run's files don't fit together, DiskFullError or UnwritableError.
    """
    _verify(run / "artifacts" / "model")
    staging = target.with_name(f".{target.name}.new")
    for folder in (staging, target):
        refuse_links(folder, target.parent)
    try:
        shutil.rmtree(staging, ignore_errors=True)  # left by a killed export
        for name, source in PARTS.items():
            write_atomic(staging / name, read_regular(run / source))
        if target.exists():
            shutil.rmtree(target)
        staging.rename(target)
    except OSError as error:
        raise from_os_error(error, target) from error


def load_candidate(folder: Path) -> tuple[RunConfig, dict[str, Tensor]]:
    """A candidate's recipe, and the weights on the CPU.

    Raises ModelNotFoundError, ModelDamagedError, ConfigError.
    """
    _verify(folder)
    try:
        values = parse_json(read_regular(folder / CONFIG))
        state: dict[str, Tensor] = torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True)
    except (OSError, ValueError) as error:
        raise ModelDamagedError(f"{folder} can't be read ({error}); run `dvc repro` to train it again.") from error
    return parse_config(values, str(folder / CONFIG), stored=True), state


def _verify(folder: Path) -> None:
    """Check the files against the hashes in the card. Raises ModelNotFoundError or ModelDamagedError."""
    card = read_card(folder / CARD)
    if not card:
        raise ModelNotFoundError(f"No candidate in {folder}; run `dvc repro` to train one.")
    for name, key in ((WEIGHTS, "weights_sha256"), (ONNX, "onnx_sha256")):
        path = folder / name
        if not path.is_file() or sha256_file(path) != card.get(key):
            raise ModelDamagedError(f"{path} isn't the file that {CARD} describes; run `dvc repro` again.")


def _begun(note: Path, identity: str, config: RunConfig) -> Path | None:
    """The run that a killed repro of the same identity left, if the run is usable; or the file of its attempts."""
    try:
        before = parse_json(read_regular(note))
        if before["identity"] != identity:
            return None
        earlier = set(before["earlier"])
    except (OSError, ValueError, TypeError, KeyError):
        return None  # without a usable note a new run is always right
    if config.training.attempts > 1:
        groups = sorted(note.parent.glob(f"{PREFIX}*_{config.hash[:8]}.json"))
        return next((path for path in reversed(groups) if path.name not in earlier), None)
    own = [path for path in sorted(note.parent.glob(f"run_*_{config.hash[:8]}")) if path.name not in earlier]
    usable = [path for path in own if object_in(path / METADATA) and (path / "checkpoints" / "index.json").is_file()]
    return usable[-1] if usable else None


def _continue(run: Path, config: RunConfig, device: str) -> Path | None:
    """Continue a run, or several attempts; None if the run has no sound checkpoint."""
    print(f"Continuing {run.stem}, which was stopped before its end.")
    request = Request(runs=run.parent, device=device, resume=True, resume_name=run.stem)
    try:
        return _train(config, request)
    except Exception as error:
        if not isinstance(error.__cause__, CheckpointError):
            raise
        print(f"{run.name} can't be continued ({error.__cause__}) Starting a new run.")
        return None


def _train(config: RunConfig, request: Request) -> Path:
    result = run_training(config, request)
    assert result is not None, "a stage runs as one process"  # noqa: S101 # nosec B101
    return result.run_dir
