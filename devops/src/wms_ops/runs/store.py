"""The records of runs on disk, written before and after each step; a second process reads them."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from pathlib import Path

from wms.files import write_atomic
from wms.regular import read_regular
from wms_ops.base.errors import PipelineError
from wms_ops.runs.record import RunRecord

FILE = "run.json"


class RunStore:
    """The runs in `folder`, each in a subfolder named after its id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create(self, branch: str, now: datetime | None = None) -> RunRecord:
        """Save and return a new run for a branch."""
        moment = now or datetime.now(UTC)
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", branch)[-40:]
        run_id = f"{moment:%Y%m%d-%H%M%S}-{name}-{secrets.token_hex(2)}"
        record = RunRecord(id=run_id, branch=branch, started_at=moment.isoformat(timespec="seconds"))
        self.save(record)
        return record

    def path(self, run_id: str) -> Path:
        """Return the run's folder."""
        return self.folder / run_id

    def save(self, record: RunRecord) -> None:
        """Write the record, whole or not at all."""
        write_atomic(self.path(record.id) / FILE, record.model_dump_json(indent=2) + "\n")

    def load(self, run_id: str) -> RunRecord:
        """Return a run's record. Raises PipelineError for a missing or damaged record."""
        path = self.path(run_id) / FILE
        try:
            content = read_regular(path)
        except OSError as error:
            raise PipelineError(f"There is no run {run_id} in {self.folder} ({error.strerror}).") from error
        return RunRecord.parse(content, str(path), PipelineError, "delete its folder, and the branch starts anew")

    def runs(self) -> tuple[RunRecord, ...]:
        """Return all runs, oldest first. Raises PipelineError for a damaged record."""
        found, damaged = self.read_all()
        if damaged:
            raise damaged[0]
        return found

    def read_all(self) -> tuple[tuple[RunRecord, ...], tuple[PipelineError, ...]]:
        """Return all sound runs, oldest first, and an error for each damaged record."""
        found: list[RunRecord] = []
        damaged: list[PipelineError] = []
        for name in sorted(path.parent.name for path in self.folder.glob(f"*/{FILE}")):
            try:
                found.append(self.load(name))
            except PipelineError as error:
                damaged.append(error)
        return tuple(found), tuple(damaged)

    def newest(self, branch: str) -> RunRecord | None:
        """Return the newest run that was started for a branch, or whose photos went to that branch."""
        mine = [run for run in self.runs() if branch in (run.branch, run.outputs.get("branch"))]
        return mine[-1] if mine else None
