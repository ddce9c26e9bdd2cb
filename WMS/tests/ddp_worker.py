"""One process of a run under torchrun, for test_distributed.py: trains, and the first one saves the weights.

Arguments: folder, output file, and "plain" to leave batch normalisation out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from small import config_in
from torch import nn

from wms.training.distributed import Processes
from wms.training.loop import Trainer
from wms.training.prepare import load_samples, split_samples


def main(folder: Path, output: Path, kind: str) -> None:
    """Train the small recipe on the photos in `folder`, whose splits are already recorded."""
    if kind == "plain":
        nn.BatchNorm2d = lambda channels: nn.Identity()  # type: ignore[assignment, misc]
    config = config_in(folder, optimiser={"learning_rate": 0.001})
    processes = Processes.join("cpu")
    data = split_samples(load_samples(config), config)
    trainer = Trainer(config, data.splits, processes)
    losses: list[str] = []
    trainer.observe = lambda progress: losses.append(progress.message) if progress.message else None
    trainer.fit()
    if processes.first:
        losses = [line.split("loss ")[1].split()[0] for line in losses]
        torch.save({"weights": trainer.model.state_dict(), "losses": [float(loss) for loss in losses]}, output)
    processes.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
