"""A run's folder: run_YYYYMMDD_HHMMSS_<hash8> with config, metadata, metrics, checkpoints, artifacts and logs."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

from wms.config import RunConfig, parse_config
from wms.errors import NothingToResumeError, ResumeMismatchError, UnwritableError, from_os_error
from wms.files import read_object, write_atomic
from wms.git import answer
from wms.json_text import to_json
from wms.registry.types import CHOSEN, TRIED

LIBRARIES = ("torch", "numpy", "pillow", "mlflow", "onnx", "onnxruntime", "dvc")
METADATA = "metadata.json"
FOLDERS = ("checkpoints", "artifacts", "logs")
SECOND = "run_YYYYMMDD_HHMMSS"


def create_run_directory(root: Path, config: RunConfig) -> Path:
    """Make a new run folder with config.json and return the path.

    Raises UnwritableError or DiskFullError; after a failure no partial folder remains.

    >>> create_run_directory(Path("runs"), config).name  # doctest: +SKIP
    'run_20261101_120000_1a2b3c4d'
    """
    moment = datetime.now(UTC)
    try:
        root.mkdir(parents=True, exist_ok=True)
        while True:
            folder = root / f"run_{moment:%Y%m%d_%H%M%S}_{config.hash[:8]}"
            try:
                folder.mkdir()
                break
            except FileExistsError:  # another run of this recipe began in the same second
                moment += timedelta(seconds=1)
        for name in FOLDERS:
            (folder / name).mkdir()
    except OSError as error:
        raise from_os_error(error, root) from error
    if not os.access(folder, os.W_OK):
        raise UnwritableError(f"The run folder {folder} isn't writable; choose another with --runs.")
    write_atomic(folder / "config.json", to_json(config.model_dump(mode="json"), indent=2) + "\n")
    return folder


def runs_in(root: Path) -> list[Path]:
    """The folders of runs in `root`, the one that began first at the beginning.

    A name tells the second; of two recipes that began in the same one, the file's time tells the order.
    """
    runs = [path for path in root.glob("run_*") if (path / "config.json").is_file()]
    return sorted(runs, key=lambda run: (run.name[: len(SECOND)], (run / "config.json").stat().st_mtime_ns))


def find_run(root: Path, name: str | None, config: RunConfig | None) -> tuple[Path, RunConfig]:
    """The run to resume, by name or the newest in `root`, and the run's original config.

    Raises NothingToResumeError without such a run, ResumeMismatchError if `config` is given and differs.
    """
    chosen = [path for path in runs_in(root) if name in (None, path.name)]
    if not chosen:
        what = f"no run named {name}" if name else "no run"
        raise NothingToResumeError(f"{root} holds {what}; start one without --resume.")
    folder = chosen[-1]
    began = parse_config(read_object(folder / "config.json"), str(folder / "config.json"), stored=True)
    if config is not None and config.hash != began.hash:
        raise ResumeMismatchError(
            f"{folder.name} began with another config (hash {began.hash[:8]}, not {config.hash[:8]}); it differs in "
            f"{', '.join(differences(began, config))}. Resume with that config, or start a new run without --resume."
        )
    return folder, began


def differences(one: RunConfig, other: RunConfig) -> list[str]:
    """Dotted names of the decisions in which two configs differ."""

    def walk(a: Any, b: Any, path: str) -> list[str]:
        if isinstance(a, dict) and isinstance(b, dict):
            return [d for key in sorted({*a, *b}) for d in walk(a.get(key), b.get(key), f"{path}.{key}")]
        return [] if a == b else [path.removeprefix(".")]

    return walk(one.decisions(), other.decisions(), "")


def describe_run(
    config: RunConfig, *, data_version: str, device: str, precision: str, processes: int
) -> dict[str, Any]:
    """The inputs and environment of a run: the content of metadata.json."""
    commit, dirty = git_state(Path.cwd())
    return {
        "recipe": config.name,
        "config_hash": config.hash,
        "data_version": data_version,
        "git_commit": commit,
        "git_dirty": dirty,
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": device,
        "precision": precision,
        "processes": processes,
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "machine": {
            "system": platform.platform(),
            "processor": platform.processor() or platform.machine(),
            "cores": psutil.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        },
    }


def tags_of(metadata: Mapping[str, Any]) -> dict[str, str]:
    """The tags of a run at MLflow: its origin and, of several attempts, their number, scores and choice."""
    tags = {key: str(metadata[key]) for key in ("config_hash", "data_version", "git_commit", "git_dirty")}
    if told := metadata.get("attempts"):
        tags |= {
            "attempts": str(told["count"]),
            CHOSEN: told["chosen"],
            TRIED: to_json(told["tried"]),
        }
    return tags


def git_state(folder: Path) -> tuple[str | None, bool | None]:
    """The commit that is checked out and whether tracked files differ from it; (None, None) without Git."""
    commit = answer(folder, "rev-parse", "HEAD")
    changed = answer(folder, "status", "--porcelain", "--untracked-files=no")
    if commit is None or changed is None:
        return None, None
    return commit.decode("ascii").strip(), bool(changed.strip())


def log_to(folder: Path) -> logging.Handler:
    """Send the library's messages to logs/train.log beside the terminal; returns the handler to remove."""
    handler = logging.FileHandler(folder / "logs" / "train.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("wms")
    logger.setLevel(logging.INFO)
    if not any(type(h) is logging.StreamHandler for h in logger.handlers):
        terminal = logging.StreamHandler(sys.stderr)
        terminal.setLevel(logging.WARNING)
        logger.addHandler(terminal)
    logger.addHandler(handler)
    return handler


def stop_logging(handler: logging.Handler) -> None:
    """Undo `log_to`."""
    logging.getLogger("wms").removeHandler(handler)
    handler.close()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
