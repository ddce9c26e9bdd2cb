"""A stage, its context and its report; other modules import them from `wms.training.stages`."""

from __future__ import annotations

from abc import ABC, ABCMeta, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from wms.errors import DiskFullError, StageError, StageFailedError, WmsError, from_os_error


@dataclass(frozen=True)
class StageContext:
    """The data that a stage may read: the pipeline's folder and the declared dependencies' results."""

    stage: str
    folder: Path
    depends_on: tuple[str, ...]
    _find: Callable[[str], object] = field(repr=False)

    def result(self, name: str) -> Any:
        """The result of a dependency; a skipped dependency runs to produce the result.

        Raises StageError when this stage doesn't declare that dependency.
        """
        if name not in self.depends_on:
            raise StageError(
                f"Stage {self.stage!r} asked for the result of {name!r}, which it doesn't declare; "
                "add that name to its depends_on."
            )
        return self._find(name)


class PipelineStage(ABC):
    """A step of a pipeline: a subclass, or functions combined by `from_function`.

    >>> double = PipelineStage.from_function("double", lambda of: 2 * of.result("number"), depends_on=("number",))
    >>> double.depends_on
    ('number',)

    `outputs` are files or folders relative to the pipeline's folder.
    """

    name: str
    depends_on: tuple[str, ...] = ()
    outputs: tuple[Path, ...] = ()

    @abstractmethod
    def run(self, context: StageContext) -> object:
        """Do the work and return the result; any exception may be raised."""

    def validate(self, result: Any) -> None:  # noqa: B027 - most results need no check
        """Raise a WmsError or a ValueError with a sentence if the result is invalid."""

    def fingerprint(self, context: StageContext) -> str | None:  # noqa: ARG002 - for subclasses
        """A hash of all inputs except the dependencies; None makes this stage and all dependents always run."""
        return None

    @staticmethod
    def from_function(
        name: str,
        run: Callable[[StageContext], object],
        *,
        depends_on: tuple[str, ...] = (),
        outputs: tuple[Path, ...] = (),
        **parts: Callable[[Any], Any],
    ) -> PipelineStage:
        """A stage made of functions; `parts` are `validate` and `fingerprint`, with the meaning of the methods."""
        made = {"name": name, "depends_on": depends_on, "outputs": outputs}
        functions = {key: staticmethod(part) for key, part in {"run": run, **parts}.items()}
        return cast(PipelineStage, ABCMeta("FunctionStage", (PipelineStage,), {**made, **functions})())


@dataclass(frozen=True)
class StageReport:
    """The outcome of a stage; `fingerprint` covers the dependencies and is None if the stage always runs.

    `seconds` excludes dependencies that ran because this stage asked for their results.
    """

    status: Literal["done", "skipped", "failed", "not run"] = "not run"
    seconds: float = 0.0
    fingerprint: str | None = None
    error: str | None = None


class StageFailure(StageFailedError):
    """A StageFailedError with the stage's name and the exit code of a foreseen cause."""

    def __init__(self, stage: str, cause: Exception) -> None:
        foreseen = isinstance(cause, WmsError | ValueError)
        super().__init__(f"Stage {stage!r} failed: {cause if foreseen else f'{type(cause).__name__}: {cause}'}")
        self.stage = stage
        error = from_os_error(cause, cause.filename or "a file") if isinstance(cause, OSError) else cause
        if isinstance(cause, WmsError) or isinstance(error, DiskFullError):
            self.exit_code = cast(WmsError, error).exit_code
