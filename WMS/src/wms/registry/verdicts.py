"""The newest verdict of a run: begun, kept and read so that an older verdict never counts again.

A gate first replaces the older verdict by the record "undecided", and stores its own verdict last. However the gate
ends in between (killed, stopped, without the server), the newest record is not an older "improved". The run's tags
repeat the decision and name the record's bytes by their SHA-256: a verdict that contradicts them doesn't count.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from wms.errors import CannotDecideError, ModelNotFoundError
from wms.files import parse_json
from wms.registry.gate_tries import TryLog
from wms.registry.gate_types import GateReport
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.types import VERDICT_FILE, GateVerdict, Mode, NoVerdict

REPORT_FILE: Final = "gate/report.json"
"""The artifact that holds the GateReport of a run's newest verdict."""

DECISION, RECORD = "gate.decision", "gate.verdict_sha256"
"""Tags of a run: its newest decision, and the SHA-256 of the artifact VERDICT_FILE that says it."""

_LONGEST_TAG: Final = 4000


@dataclass(frozen=True)
class Attempt:
    """A gate at work on a run; `record` is the SHA-256 of the gate's own "undecided"."""

    registry: ModelRegistry
    run_id: str
    mode: Mode
    record: str

    def keep(self, report: GateReport) -> None:
        """Make a report's verdict the run's newest.

        Raises CannotDecideError if another gate began on this run meanwhile: then the other gate's verdict counts.
        Raises RegistryUnreachableError or RegistryError; then no verdict counts.
        """
        # First, so that a verdict that counts, or counted for a moment, is among those that stay on record.
        TryLog(self.registry).add(report.verdict)
        content = report.verdict.model_dump_json(indent=2).encode()
        self.registry.write_artifact(self.run_id, REPORT_FILE, report.model_dump_json(indent=2).encode())
        self._require_newest()
        # Another gate may begin after this check; its tags then contradict this verdict, which doesn't count.
        self.registry.write_artifact(self.run_id, VERDICT_FILE, content)
        self._require_newest()
        self.registry.set_run_tags(self.run_id, {**_gist(report.verdict), RECORD: sha256(content).hexdigest()})

    def refuse(self, reason: str) -> None:
        """Make "cannot decide" the run's newest record, even if another gate is at work on the run."""
        _put(self.registry, NoVerdict(decision="cannot decide", run_id=self.run_id, reason=reason, mode=self.mode))

    def _require_newest(self) -> None:
        if self.registry.run(self.run_id).tags.get(RECORD) != self.record:
            raise CannotDecideError(
                f"Another gate began on run {self.run_id} while this one compared, and only the newest verdict counts. "
                "Run the gate again when no other is at work."
            )


def begin(registry: ModelRegistry, run_id: str, mode: Mode) -> Attempt:
    """Replace an older verdict of a run by "undecided", before anything is compared.

    Raises RegistryUnreachableError or RegistryError; a partial write then contradicts the older verdict.
    """
    reason = (
        "The gate began and reached no verdict: it is still at work, it was stopped, or it failed with another error."
    )
    return Attempt(
        registry, run_id, mode, _put(registry, NoVerdict(decision="undecided", run_id=run_id, reason=reason, mode=mode))
    )


def read_verdict(registry: ModelRegistry, run_id: str) -> GateVerdict | NoVerdict | None:
    """The gate's newest record about a run; None if no gate ever ran.

    A verdict of older code lacks the tag RECORD and may lack every tag; such a verdict counts. Raises
    ModelNotFoundError for an unknown run, RegistryUnreachableError, RegistryError.
    """
    try:
        content = registry.read_artifact(run_id, VERDICT_FILE)
    except ModelNotFoundError:
        content = None
    tags = registry.run(run_id).tags
    said = tags.get(DECISION)
    if content is None:
        return None if said is None else _contradictory(run_id, said, "missing")
    found = _parse(content, run_id)
    if isinstance(found, GateVerdict):
        if said not in (None, found.decision):
            return _contradictory(run_id, str(said), repr(found.decision))
        if tags.get(RECORD) not in (None, sha256(content).hexdigest()):
            return _contradictory(run_id, str(said), "of another gate")
    return found


def _contradictory(run_id: str, said: str, stored: str) -> NoVerdict:
    reason = (
        f"The tag {DECISION} says {said!r}, but {VERDICT_FILE} is {stored}: a gate was cut off in between, or two were "
        "at work at once."
    )
    return NoVerdict(decision="contradictory verdict", run_id=run_id, reason=reason)


def _parse(content: bytes, run_id: str) -> GateVerdict | NoVerdict:
    is_none = False
    with contextlib.suppress(ValueError, AttributeError):  # damage is named below
        is_none = parse_json(content).get("decision") in ("undecided", "cannot decide")
    where = f"{VERDICT_FILE} of run {run_id}"
    try:
        return (NoVerdict if is_none else GateVerdict).parse(content, where, CannotDecideError, "run the gate again")
    except CannotDecideError as error:
        return NoVerdict(decision="damaged verdict", run_id=run_id, reason=str(error))


def _put(registry: ModelRegistry, record: NoVerdict) -> str:
    """Store a record in place of verdict and report, and in the tags; returns its SHA-256.

    The tags are set even if the artifact can't be stored: either of them invalidates an older verdict.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    record = record.model_copy(update={"at": now, "attempt": uuid.uuid4().hex})
    content = record.model_dump_json(indent=2).encode()
    digest = sha256(content).hexdigest()
    tags = {DECISION: record.decision, "gate.reason": record.reason[:_LONGEST_TAG], "gate.decided_at": now}
    try:
        for path in (VERDICT_FILE, REPORT_FILE):
            registry.write_artifact(record.run_id, path, content)
    finally:
        registry.set_run_tags(record.run_id, {**tags, "gate.mode": record.mode, RECORD: digest})
    return digest


def _gist(verdict: GateVerdict) -> Mapping[str, str]:
    values = {
        "mode": verdict.mode,
        "champion_version": "none" if verdict.champion_version is None else str(verdict.champion_version),
        **{f"challenger_{name}": f"{value:.6f}" for name, value in verdict.challenger.named().items()},
        **{f"champion_{name}": f"{value:.6f}" for name, value in verdict.champion.named().items()},
        "test_images": str(verdict.test_images),
        "test_version": verdict.test_version,
        "probability": "none" if verdict.probability is None else f"{verdict.probability:.4f}",
        "decided_at": verdict.decided_at,
        "reason": (verdict.held_back or verdict.reasons[0])[:_LONGEST_TAG],
        "settings": (verdict.settings.text if verdict.settings else "unknown")[:_LONGEST_TAG],
    }
    return {DECISION: verdict.decision, **{f"gate.{name}": value for name, value in values.items()}}
