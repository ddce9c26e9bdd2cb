"""A tiny recipe and a tiny data set: a whole training run in seconds."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import forked
import yaml

from wms.config import RunConfig, parse_config
from wms.data.synthetic import write_dataset

if TYPE_CHECKING:
    from torch import nn

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ROOT / "WMS" / "src" / "train.py"


def recipe(**sections: Any) -> dict[str, Any]:
    """A recipe's plain values; each keyword replaces or extends a section."""
    values: dict[str, Any] = {
        "name": "small",
        "data": {"cache_size": 64},
        "model": {"channels": [2, 3, 4, 5, 6]},
        "augmentation": {
            "horizontal_flip": 0.5,
            "rotation": 0.5,
            "rotation_degrees": 10,
            "colour": 1.0,
            "tint": 0.2,
        },
        "optimiser": {"learning_rate": 0.01},
        "training": {"stages": [{"size": 32, "epochs": 2}, {"size": 48, "epochs": 1}], "batch_size": 4},
        # Hardly trained, a model marks something all the same: one that marks nothing is a failure, code 38.
        "evaluation": {"grid": 64, "threshold": 0.05},
    }
    for name, section in sections.items():
        known = values.get(name)
        values[name] = {**known, **section} if isinstance(known, dict) else section
    return values


def config_in(folder: Path, **sections: Any) -> RunConfig:
    """The recipe as a RunConfig whose paths lie in `folder`."""
    values = recipe(**sections)
    paths = {"folder": "photos", "splits_file": "splits.jsonl", "cache_folder": "cache"}
    values["data"] |= {key: str(folder / name) for key, name in paths.items()}
    return parse_config(values, "test")


def photos(folder: Path, count: int = 24) -> Path:
    """`count` synthetic meters, 96 pixels, in folder/photos."""
    write_dataset(folder / "photos", count, seed=5, size=96)
    return folder / "photos"


def random_network(channels: tuple[int, ...], seed: int = 0) -> nn.Module:
    """A U-Net with seeded weights, in training mode; its batch normalisation has seen a batch that fits them."""
    import torch

    from wms.models.unet import UNet

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = UNet(channels=channels).build().train()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0  # else the statistics barely move from their start, and all units may be dead
        with torch.no_grad():
            model(torch.rand(4, 3, 64, 64))
    return model


def write_recipe(folder: Path, **sections: Any) -> Path:
    """The recipe as a YAML file with its cache in `folder`."""
    values = recipe(**sections)
    values["data"]["cache_folder"] = str(folder / "cache")
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def train_command(folder: Path, *more: str, runs: str = "runs") -> list[str]:
    """The command line of train.py for the recipe and the photos in `folder`."""
    files = [
        "--config",
        folder / "small.yaml",
        "--data",
        folder / "photos",
        "--splits",
        folder / "splits.jsonl",
    ]
    return [sys.executable, *map(str, [TRAIN, *files, "--runs", folder / runs, "--device", "cpu"]), *more]


def environment(**more: str) -> dict[str, str]:
    """One thread a process: two of them must not fight for two cores, and results must not depend on cores."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **more}


def train(folder: Path, *more: str, runs: str = "runs", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run train.py to its end."""
    command = train_command(folder, *more, runs=runs)
    if not hasattr(os, "fork"):
        return subprocess.run(
            command, capture_output=True, text=True, env=environment(**variables), timeout=240, check=False
        )
    return forked.run(command[1:], environment(**variables), 240)


def train_and_kill(folder: Path, when: Callable[[], bool], *more: str, runs: str = "runs") -> bool:
    """Run train.py and SIGKILL it as soon as `when` holds; False if it ended before that."""
    with Path(os.devnull).open("wb") as nothing:
        command = train_command(folder, *more, runs=runs)
        process = forked.SERVER.start(command[1:], environment(), nothing.fileno(), nothing.fileno())
    while process.poll() is None:
        if when():
            process.kill()
            process.wait()
            return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.01)  # a poll's pause, not a wait for work to be done
    return False


def only_run(runs: Path) -> Path:
    """The one run folder in `runs`."""
    (run,) = [path for path in runs.iterdir() if path.name.startswith("run_")]
    return run
