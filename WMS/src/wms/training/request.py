"""The request for a training run, apart from the config, and the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wms.training.loop import Trainer
from wms.training.position import Progress


@dataclass(frozen=True)
class TrainingResult:
    """The run's folder and the test scores of the best weights.

    `marks_nothing`: the best weights mark nothing on all test photos, so that the model is useless.
    """

    run_dir: Path
    test_dice: float
    test_iou: float
    model: Path
    report: Path
    marks_nothing: bool = False


@dataclass(frozen=True)
class Request:
    """The user's choices apart from the config."""

    runs: Path
    device: str = "auto"
    resume: bool = False
    resume_name: str | None = None
    quiet: bool = False
    show: Callable[[str], None] = print
    watch: Callable[[Trainer, Progress], None] | None = None
    """Called after each step and each epoch; may set `trainer.stop`."""
