"""The request for a training run, apart from the config, and the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from wms.training.loop import Trainer
from wms.training.position import Progress

ATTEMPT: Final = "attempt"
"""The key in a run's metadata by which the run is one of several attempts, and later of that attempt's end."""


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
class Attempt:
    """One of several attempts: `number` counts from 0, and `begun` is told the name of the attempt's run."""

    number: int
    count: int
    begun: Callable[[str], None]

    @property
    def text(self) -> str:
        """The attempt in words.

        >>> Attempt(0, 3, print).text
        'Attempt 1 of 3'
        """
        return f"Attempt {self.number + 1} of {self.count}"

    @property
    def about(self) -> dict[str, Any]:
        """The attempt for its run's metadata, from the beginning on."""
        return {ATTEMPT: {"number": self.number + 1, "count": self.count}}

    def overall(self, progress: Progress) -> Progress:
        """The progress of all attempts together; each has the same share."""
        return replace(progress, share=(self.number + progress.share) / self.count)


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
    attempt: Attempt | None = None
    """Of several attempts the one to train; it ends before the test set is scored."""
