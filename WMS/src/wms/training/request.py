"""What a user asks of a training run beside its config, and what comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wms.training.loop import Trainer
from wms.training.position import Progress


@dataclass(frozen=True)
class TrainingResult:
    """Where the run lies and what its best weights scored on the test split.

    `marks_nothing`: they mark nothing on any test photo, so that the model is of no use.
    """

    run_dir: Path
    test_dice: float
    test_iou: float
    model: Path
    report: Path
    marks_nothing: bool = False


@dataclass(frozen=True)
class Request:
    """What the user asked for beside the config."""

    runs: Path
    device: str = "auto"
    resume: bool = False
    resume_name: str | None = None
    quiet: bool = False
    show: Callable[[str], None] = print
    watch: Callable[[Trainer, Progress], None] | None = None
    """Called after each step and each epoch; may set `trainer.stop`."""
