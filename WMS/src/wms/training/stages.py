"""A pipeline that reruns only changed stages and may be killed at any point.

A stage declares dependencies and hashes inputs; the pipeline skips a stage whose inputs and outputs are unchanged since
the last success. The record of a success is written after the outputs are verified, and removed before the stage runs
again, so a kill in between makes the next call run the stage.
"""

from __future__ import annotations

import contextlib
import difflib
import logging
import re
import time
from abc import ABC, ABCMeta, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from wms.errors import DiskFullError, StageError, StageFailedError, WmsError, from_os_error
from wms.files import canonical_json, parse_json, sha256_file, sha256_text, write_atomic
from wms.regular import read_regular

_log = logging.getLogger(__name__)


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


class MLOpsPipeline:
    """Stages in the order of their dependencies; the constructor checks the plan, before any stage runs.

    `state_dir` keeps a JSON file for each stage that can be skipped. Outputs are relative to `folder`, by default the
    folder that holds `state_dir`. `artifacts` are the results of the stages that the last run carried out, `reports`
    the outcome of each stage, both by name and also after a failure. Raises StageError for a duplicate name or a name
    that can't be a file's, an unknown dependency, a cycle, and an output outside the folder or of two stages.
    """

    def __init__(
        self, name: str, stages: Sequence[PipelineStage], state_dir: Path, *, folder: Path | None = None
    ) -> None:
        _check_stages(stages)
        self.name, self.state_dir, self.folder = name, state_dir, folder or state_dir.parent
        self.stages = {stage.name: stage for stage in stages}
        self.order = _sort_stages(self.stages)
        self.artifacts: Mapping[str, object] = {}
        self.reports: Mapping[str, StageReport] = {}

    def run_pipeline(self) -> Mapping[str, object]:
        """Run the stages that changed and return `artifacts`.

        Raises StageFailure, whose cause is the original error, when a stage fails; the stages after it are not run.
        """
        execution = _Execution(self)
        self.artifacts, self.reports = execution.results, execution.reports
        for name in self.order:
            execution.attempt(name, execution.run_if_changed)
        return self.artifacts


class _Execution:
    """A run of a pipeline: the results and reports so far."""

    def __init__(self, pipeline: MLOpsPipeline) -> None:
        self.pipeline = pipeline
        self.reports = dict.fromkeys(pipeline.order, StageReport())
        self.results: dict[str, object] = {}
        self.own: dict[str, str | None] = {}
        self.digests: dict[str, str | None] = {}
        self.nested_seconds = 0.0
        self.failure: StageFailure | None = None

    def attempt(self, name: str, act: Callable[[PipelineStage], Literal["done", "skipped"]]) -> None:
        """Call `act` with a stage, measure and report the outcome; any exception becomes a StageFailure."""
        began, nested_before = time.perf_counter(), self.nested_seconds
        failure: StageFailure | None = None
        status: Literal["done", "skipped", "failed"] = "failed"
        try:
            status = act(self.pipeline.stages[name])
        except Exception as cause:
            if not isinstance(cause, WmsError | ValueError):
                _log.exception("Stage %r met an error that nobody foresaw.", name)
            # A dependency that this stage requested failed: the failure keeps the dependency's name.
            failure = cause if isinstance(cause, StageFailure) and cause is self.failure else StageFailure(name, cause)
            failure.__cause__ = failure.__cause__ or cause
            self.failure = failure
        elapsed = time.perf_counter() - began
        seconds = elapsed - (self.nested_seconds - nested_before)
        self.nested_seconds = nested_before + elapsed
        error = str(failure) if failure else None
        self.reports[name] = StageReport(status, seconds, self._fingerprint(name), error)
        if failure is not None:
            raise failure

    def run_if_changed(self, stage: PipelineStage) -> Literal["done", "skipped"]:
        """Skip a stage whose inputs and outputs are those on record."""
        self.own[stage.name] = stage.fingerprint(self._context(stage))
        fingerprint = self._fingerprint(stage.name)
        record = present = None
        if fingerprint is not None:
            # Fails without a record, with a damaged one and with a missing output: all mean "run".
            with contextlib.suppress(OSError, ValueError, StageFailedError):
                record = parse_json(read_regular(self._record(stage)))
                outputs = _hash_outputs(stage, self.pipeline.folder)
                present = {"fingerprint": fingerprint, "outputs": outputs}
        if present is None or record != present:
            return self.run(stage)
        self.digests[stage.name] = sha256_text(canonical_json(record))
        return "skipped"

    def run(self, stage: PipelineStage) -> Literal["done"]:
        """Run a stage, verify result and outputs, and only then record the success."""
        context = self._context(stage)
        if stage.name not in self.own:
            self.own[stage.name] = stage.fingerprint(context)
        # A stage that is killed from here on has no record, even if its inputs change back.
        self._record(stage).unlink(missing_ok=True)
        result = stage.run(context)
        stage.validate(result)
        outputs = _hash_outputs(stage, self.pipeline.folder)
        fingerprint = self._fingerprint(stage.name)
        # None while unrecorded: dependents of a stage that always runs have no fingerprint either.
        self.digests[stage.name] = None
        if fingerprint is not None:
            text = canonical_json({"fingerprint": fingerprint, "outputs": outputs})
            write_atomic(self._record(stage), text)
            self.digests[stage.name] = sha256_text(text)
        self.results[stage.name] = result
        return "done"

    def _context(self, stage: PipelineStage) -> StageContext:
        return StageContext(stage.name, self.pipeline.folder, tuple(stage.depends_on), self._result)

    def _result(self, name: str) -> object:
        if name not in self.results:
            self.attempt(name, self.run)
        return self.results[name]

    def _record(self, stage: PipelineStage) -> Path:
        return self.pipeline.state_dir / f"{stage.name}.json"

    def _fingerprint(self, name: str) -> str | None:
        """The stage's own fingerprint combined with its dependencies' fingerprints and outputs."""
        dependencies = {d: self.digests.get(d) for d in self.pipeline.stages[name].depends_on}
        own = self.own.get(name)
        if own is None or None in dependencies.values():
            return None
        return sha256_text(canonical_json([self.pipeline.name, name, own, dependencies]))


def _hash_outputs(stage: PipelineStage, folder: Path) -> dict[str, str]:
    """The content hash of each output; a folder's hash covers the relative paths and contents of the files."""
    found = {}
    for output in stage.outputs:
        path = folder / output
        if path.is_dir():
            inside = {p.relative_to(path).as_posix(): sha256_file(p) for p in path.rglob("*") if p.is_file()}
            found[output.as_posix()] = sha256_text(canonical_json(inside))
        elif path.is_file():
            found[output.as_posix()] = sha256_file(path)
        else:
            raise StageFailedError(f"its output {path} is missing; let the stage write it, or don't declare it.")
    return found


def _check_stages(stages: Sequence[PipelineStage]) -> None:
    """Refuse mistakes that no order of the stages can fix, with a StageError."""
    names = Counter(stage.name for stage in stages)
    outputs = Counter(output for stage in stages for output in stage.outputs)
    for stage in stages:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", stage.name):
            raise StageError(f"Stage name {stage.name!r} can't be a file's name; use letters, digits, - and _.")
        if names[stage.name] > 1:
            raise StageError(f"Stage {stage.name!r} is defined {names[stage.name]} times; rename all but one.")
        for dependency in stage.depends_on:
            if dependency not in names:
                nearest = difflib.get_close_matches(dependency, names, n=1)
                hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
                raise StageError(f"Stage {stage.name!r} depends on {dependency!r}, but there is no such stage{hint}")
        for output in stage.outputs:
            if output.is_absolute() or ".." in output.parts:
                raise StageError(f"Output {output} of stage {stage.name!r} must lie in the pipeline's folder.")
            if outputs[output] > 1:
                raise StageError(f"Output {output} belongs to several stages; let one stage write it.")


def _sort_stages(stages: Mapping[str, PipelineStage]) -> tuple[str, ...]:
    """The names, dependencies first; raises StageError for a cycle."""
    order: dict[str, None] = {}
    while waiting := [name for name in stages if name not in order]:
        ready = [name for name in waiting if all(d in order for d in stages[name].depends_on)]
        if not ready:
            path = [waiting[0]]
            while path[-1] not in path[:-1]:
                path.append(next(d for d in stages[path[-1]].depends_on if d not in order))
            cycle = " -> ".join(path[path.index(path[-1]) :])
            raise StageError(f"The stages depend on each other in a circle: {cycle}; remove one dependency.")
        order[ready[0]] = None
    return tuple(order)
