"""What a stage is, what it may read, and what is reported of it; `wms.training.stages` shows all of it."""

from __future__ import annotations

from abc import ABC, ABCMeta, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, cast

from wms.errors import DiskFullError, StageError, StageFailedError, WmsError, from_os_error


@dataclass(frozen=True)
class StageContext:
    """What a stage may read: the pipeline's folder, the run's values, its declared dependencies' results."""

    stage: str
    folder: Path
    values: Mapping[str, Any]
    depends_on: tuple[str, ...]
    _find: Callable[[str], object] = field(repr=False)

    def result(self, name: str) -> Any:
        """The result of a dependency, reloaded or made anew if it was skipped.

        Raises StageError when this stage doesn't declare that dependency.
        """
        if name not in self.depends_on:
            raise StageError(
                f"Stage {self.stage!r} asked for the result of {name!r}, which it doesn't declare; "
                "add that name to its depends_on."
            )
        return self._find(name)


class StageOptions(TypedDict, total=False):
    """The optional parts of a stage that is made of functions; each means what PipelineStage's part does."""

    depends_on: tuple[str, ...]
    outputs: tuple[Path, ...]
    validate: Callable[[Any], None]
    fingerprint: Callable[[StageContext], str | None]
    restore: Callable[[StageContext], object]


class PipelineStage(ABC):
    """One step: a subclass, or functions put together by `from_function` or the decorator `stage`.

    `outputs` are files or folders relative to the pipeline's folder.
    """

    name: str
    depends_on: tuple[str, ...] = ()
    outputs: tuple[Path, ...] = ()

    @abstractmethod
    def run(self, context: StageContext) -> object:
        """Do the work and return its result; anything may be raised."""

    def validate(self, result: Any) -> None:  # noqa: B027 - most results need no check
        """Raise a WmsError or a ValueError with a sentence when the result isn't sound."""

    def fingerprint(self, context: StageContext) -> str | None:  # noqa: ARG002 - for subclasses
        """A hash of all inputs besides the dependencies; None: this stage and all that follow always run."""
        return None

    def restore(self, context: StageContext) -> object:
        """Reload a skipped stage's result; where this isn't overridden, it runs when its result is needed."""
        raise NotImplementedError(f"Stage {self.name!r} can't be restored.")

    @staticmethod
    def from_function(
        name: str, run: Callable[[StageContext], object], **options: Unpack[StageOptions]
    ) -> PipelineStage:
        """A stage made of functions."""
        parts = {key: staticmethod(part) if callable(part) else part for key, part in options.items()}
        kind = ABCMeta("FunctionStage", (PipelineStage,), {"name": name, "run": staticmethod(run), **parts})
        return cast(PipelineStage, kind())


def stage(name: str, **options: Unpack[StageOptions]) -> Callable[[Callable[[StageContext], object]], PipelineStage]:
    """Decorator that makes a stage of a function; takes what `PipelineStage.from_function` takes."""
    return lambda run: PipelineStage.from_function(name, run, **options)


@dataclass(frozen=True)
class StageEvent:
    """What has just happened to a stage, for a log or a progress bar."""

    stage: str
    kind: Literal["started", "done", "skipped", "restored", "failed"]
    seconds: float = 0.0
    error: str | None = None


@dataclass(frozen=True)
class StageReport:
    """How one stage ended; `fingerprint` covers its dependencies and is None where it always runs.

    `seconds` leaves out dependencies that were restored or run because this stage asked for their results.
    """

    status: Literal["done", "skipped", "failed", "not run"] = "not run"
    seconds: float = 0.0
    fingerprint: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class PipelineReport:
    """How a run ended: each stage's report, in the order in which they run."""

    pipeline: str
    stages: Mapping[str, StageReport]


class StageFailure(StageFailedError):
    """A StageFailedError with the stage's name, the report so far, and the exit code of a foreseen cause."""

    def __init__(self, stage: str, cause: Exception) -> None:
        foreseen = isinstance(cause, WmsError | ValueError)
        super().__init__(f"Stage {stage!r} failed: {cause if foreseen else f'{type(cause).__name__}: {cause}'}")
        self.stage = stage
        self.report: PipelineReport | None = None
        error = from_os_error(cause, cause.filename or "a file") if isinstance(cause, OSError) else cause
        if isinstance(cause, WmsError) or isinstance(error, DiskFullError):
            self.exit_code = cast(WmsError, error).exit_code
