"""One decision of the gate: evidence gathered, judged, and kept in the challenger's run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from wms.config import RunConfig
from wms.errors import CannotDecideError
from wms.registry.gate import judge
from wms.registry.gate_types import GateReport
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.types import VERDICT_FILE
from wms_ops.gate.evidence import Gathered, gather

REPORT_FILE: Final = "gate/report.json"
"""Where a run keeps its newest GateReport, among its artifacts."""


def decide(
    registry: ModelRegistry,
    run: str,
    config: RunConfig,
    *,
    ledger: Path,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[GateReport, Gathered]:
    """Compare a run (its id or name) with Production and store the verdict in the run.

    Raises CannotDecideError, which the run remembers, and what `gather` raises.
    """
    try:
        gathered = gather(registry, run, config, ledger=ledger, on_progress=on_progress)
        report = judge(gathered.evidence, config.gate, decided_at=datetime.now(UTC).isoformat(timespec="seconds"))
    except CannotDecideError as error:
        _remember_refusal(registry, run, error)
        raise
    keep(registry, report)
    return report, gathered


def keep(registry: ModelRegistry, report: GateReport) -> None:
    """Store verdict and report in the challenger's run, and its gist as tags. Safe to repeat."""
    verdict = report.verdict
    registry.write_artifact(verdict.run_id, REPORT_FILE, report.model_dump_json(indent=2).encode())
    registry.write_artifact(verdict.run_id, VERDICT_FILE, verdict.model_dump_json(indent=2).encode())
    values = {
        "decision": verdict.decision,
        "mode": verdict.mode,
        "champion_version": "none" if verdict.champion_version is None else str(verdict.champion_version),
        "challenger_dice": f"{verdict.challenger.dice:.6f}",
        "challenger_iou": f"{verdict.challenger.iou:.6f}",
        "champion_dice": f"{verdict.champion.dice:.6f}",
        "champion_iou": f"{verdict.champion.iou:.6f}",
        "test_images": str(verdict.test_images),
        "test_version": verdict.test_version,
        "probability": "none" if verdict.probability is None else f"{verdict.probability:.4f}",
        "decided_at": verdict.decided_at,
        "reason": verdict.reasons[0],
    }
    registry.set_run_tags(verdict.run_id, {f"gate.{name}": value for name, value in values.items()})


def _remember_refusal(registry: ModelRegistry, run: str, error: CannotDecideError) -> None:
    """Note in the run that its newest comparison was refused: an earlier verdict may still lie beside it."""
    run_id = registry.find_run(run).run_id
    now = datetime.now(UTC).isoformat(timespec="seconds")
    tags = {"gate.decision": "cannot decide", "gate.reason": str(error)[:4000], "gate.decided_at": now}
    registry.set_run_tags(run_id, tags)
