"""One decision of the gate: gather the evidence, judge, and keep the verdict in the challenger's run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from wms.config import RunConfig
from wms.errors import CannotDecideError
from wms.registry.gate import judge
from wms.registry.gate_types import GateReport
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.verdicts import begin
from wms_ops.gate.evidence import Gathered, gather


def decide(
    registry: ModelRegistry,
    run: str,
    config: RunConfig,
    *,
    ledger: Path,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[GateReport, Gathered]:
    """Compare a run (its id or name) with Production and store the verdict in the run.

    From the start of the attempt an older verdict of the run no longer counts. Raises CannotDecideError, which the run
    remembers, and the errors of `gather`.
    """
    run_id = registry.find_run(run).run_id
    # First, so that a killed decision leaves no older verdict for a promotion to rely on.
    attempt = begin(registry, run_id, config.gate.mode)
    try:
        gathered = gather(registry, run_id, config, ledger=ledger, on_progress=on_progress)
        report = judge(gathered.evidence, config.gate, decided_at=datetime.now(UTC).isoformat(timespec="seconds"))
    except CannotDecideError as error:
        attempt.refuse(str(error))
        raise
    attempt.keep(report)
    return report, gathered
