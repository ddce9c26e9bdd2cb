"""Runs whose records and files lie in a bucket, too, so that a job on another machine continues what this one began."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from wms.files import write_atomic
from wms.metrics import METRICS
from wms.names import harmless
from wms.registry.types import means_in
from wms.regular import read_regular
from wms_ops.base.errors import PipelineError
from wms_ops.base.layout import DATA_BRANCHES
from wms_ops.runs.record import RunOutcome, RunRecord, StepState
from wms_ops.runs.store import FILE, RunStore
from wms_ops.storage.bucket import Bucket
from wms_ops.storage.names import read_time

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")
_COMMIT: Final = r"[0-9a-f]{40}"
_BRANCH: Final = rf"{re.escape(DATA_BRANCHES)}[A-Za-z0-9](?:[A-Za-z0-9_-]|[./](?![./]|lock\b)){{0,80}}"
_NAMES: Final = f"Rename it: {DATA_BRANCHES} and at most 81 of a-z, A-Z, 0-9 and, after the first, of _ - . and /."
_COMMITS: Final = "Give all 40 digits of it."
_NUMBER: Final = r"[0-9]{1,9}"
_WORD: Final = r"true|false"
_MEAN: Final = r"0\.[0-9]{1,12}|1\.0{1,12}"
_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}"

_ALLOWED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("body", "gate_report", "gate_page"), _NAME),
    **dict.fromkeys(("photos_before", "photos_new", "photos_total", "version", "pull"), _NUMBER),
    **dict.fromkeys(("passes", "changed"), _WORD),
    **dict.fromkeys(tuple(f"{side}_{name}" for side in ("champion", "challenger") for name in METRICS), _MEAN),
    **dict.fromkeys(("previous_version", "champion_version"), rf"(?:{_NUMBER})?"),
    "branch": _BRANCH,
    "commit": _COMMIT,
    "photos": _COMMIT,
    "pushed": rf"(?:{_COMMIT})?",
    "merged": rf"(?:{_COMMIT})?",
    "run": _NAME,
    "run_id": r"[0-9a-f]{32}",
}
"""The values that a later step hands to git, MLflow or a file's name; all others are only shown."""


def run_of(branch: str, commit: str) -> str:
    """Return the id of a commit's run. Raises PipelineError for a name or a commit that no run can belong to.

    >>> run_of("data/20261121-103000", "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567")
    'data-20261121-103000-0a1b2c3d4e5f'
    """
    for name, text, form, rule in (("branch", branch, _BRANCH, _NAMES), ("commit", commit, _COMMIT, _COMMITS)):
        if not re.fullmatch(form, text):
            raise PipelineError(
                f"{harmless(text[:100])!r} isn't a {name} that a run can belong to; nothing was started. {rule}"
            )
    return f"{branch.replace('/', '-')}-{commit[:12]}"


_LEFT: Final[Mapping[str, tuple[str, ...]]] = {
    "merge": ("commit",),
    "validate": ("photos_before", "photos_new", "photos_total"),
    "train": ("run", "run_id"),
    "gate": ("decision", "passes"),
    "promote": ("version",),
    "report": ("body",),
}
"""The values that a step which is done has left, whatever came of it."""

_KEPT: Final = re.compile(r"(?:[A-Za-z0-9_-]+/)?[A-Za-z0-9_.-]+\.(?:html|json|log|md|png)")
_DRAWN: Final = (".html", ".png")
_LARGEST: Final = 2**26


class SharedRunStore(RunStore):
    """The runs of `folder`, each also below `prefix` in a bucket: the bucket's record counts.

    A run belongs to a commit of a branch, so its id follows from both, and a second start finds the first. Each method
    raises the bucket's errors and PipelineError.
    """

    def __init__(self, folder: Path, bucket: Bucket, prefix: str) -> None:
        super().__init__(folder)
        self._bucket, self._prefix = bucket, prefix

    def begin(self, branch: str, commit: str, tip: str | None, now: datetime | None = None) -> RunRecord:
        """Return the run of a branch's commit with its files, begun unless the bucket has it.

        `tip` is the commit of the branch at the origin now: a run begins with that one alone.
        """
        run_id = run_of(branch, commit)
        if self._bucket.get(self._key(run_id, FILE)) is not None:
            return self.resume(branch, commit)
        if commit != tip:
            is_at = f"is at {tip[:12]}" if tip else "isn't at the origin any more"
            raise PipelineError(f"{branch} {is_at}, not at {commit[:12]}; nothing was started.")
        moment = now or datetime.now(UTC)
        record = RunRecord(id=run_id, branch=branch, pushed=commit, started_at=moment.isoformat(timespec="seconds"))
        self.save(record)
        return record

    def resume(self, branch: str, commit: str) -> RunRecord:
        """Return the run of a branch's commit with its files. Raises PipelineError for another's run of the same id."""
        found = self.bring(run_of(branch, commit))
        if found.branch != branch:  # data/a/b and data/a-b
            raise PipelineError(f"{found.branch} has a run of this commit and of this id already; rename {branch}.")
        if found.pushed not in ("", commit):
            raise PipelineError(f"The run {found.id} is that of {found.pushed}; push another commit to {branch}.")
        return found

    def save(self, record: RunRecord) -> None:
        """Write the record here and into the bucket."""
        super().save(record)
        self._bucket.put(self._key(record.id, FILE), read_regular(self.path(record.id) / FILE))

    def load(self, run_id: str) -> RunRecord:
        """Return a run's record as the bucket has it. Raises PipelineError for a missing, damaged or odd record."""
        if not _ID.fullmatch(run_id):
            raise PipelineError(f"{harmless(run_id)!r} isn't the id of a run.")
        found = self._bucket.get(key := self._key(run_id, FILE))
        if found is None:
            raise PipelineError(f"There is no run {run_id} in s3://{self._bucket.name}/{self._prefix}.")
        where = f"s3://{self._bucket.name}/{key}"
        record = RunRecord.parse(found.content, where, PipelineError, "delete the object, and the run starts anew")
        if fault := _fault(record, run_id):
            raise PipelineError(
                f"The record {where} {fault}, so nothing was done. Find out who writes there, delete the object and "
                "start the run again."
            )
        write_atomic(self.path(run_id) / FILE, found.content)
        return record

    def bring(self, run_id: str) -> RunRecord:
        """Return a run's record, and bring the files that its earlier steps have left."""
        record = self.load(run_id)
        for path in self._stored(run_id):
            if (found := self._bucket.get(self._key(run_id, path))) is not None:
                write_atomic(self.path(run_id) / path, found.content)
        return record

    def keep(self, record: RunRecord) -> None:
        """Bring the run's files into the bucket, and take those away that a step has removed.

        Of a run that is over none is kept that may show photos: the pull request has them, and an erased photo must not
        stay here.
        """
        folder, is_over = self.path(record.id), record.outcome not in (RunOutcome.RUNNING, RunOutcome.FAILED)
        paths = (path for path in folder.rglob("*") if path.is_file() and path.stat().st_size <= _LARGEST)
        found = {path.relative_to(folder).as_posix(): path for path in paths}
        wanted = {name: path for name, path in found.items() if _KEPT.fullmatch(name) and name != FILE}
        if is_over:
            wanted = {name: path for name, path in wanted.items() if not name.endswith(_DRAWN)}
        for name, path in wanted.items():
            self._bucket.put(self._key(record.id, name), read_regular(path))
        self._bucket.delete(self._key(record.id, name) for name in self._stored(record.id) if name not in wanted)

    def _stored(self, run_id: str) -> list[str]:
        start = self._key(run_id, "")
        names = (key.removeprefix(start) for key in self._bucket.names(start))
        return [name for name in names if _KEPT.fullmatch(name) and name != FILE]

    def _key(self, run_id: str, name: str) -> str:
        return f"{self._prefix}{run_id}/{name}"


def _fault(record: RunRecord, run_id: str) -> str | None:
    """The words about a record that no step has written; None for any other."""
    values = record.outputs
    for name, value in {"branch": record.branch, "pushed": record.pushed, **values, "id": record.id}.items():
        form = re.escape(run_id) if name == "id" else _ALLOWED.get(name)
        if form and not re.fullmatch(form, value):
            return f"has {harmless(value[:80])!r} as {name}, which no step writes"
    for text in (record.started_at, *(step.started_at for step in record.steps if step.started_at)):
        if not text.endswith("+00:00") or read_time(text) is None:
            return f"has {harmless(text[:80])!r} as a time, which no step writes"
    for step, names in _LEFT.items():
        if record.step(step).state is StepState.DONE and (lacking := [name for name in names if name not in values]):
            return f"says that the step {step} is done, but lacks its {lacking[0]}"
    for side in ("champion", "challenger"):
        if values.get("passes") == "true" or any(f"{side}_{name}" in values for name in METRICS):
            try:
                means_in(values, side)
            except ValueError:
                return f"lacks scores of the {side}"
    return None
