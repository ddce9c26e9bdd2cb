"""One decision of the gate: gather the evidence, judge, and keep the verdict in the challenger's run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from wms.config import RunConfig
from wms.errors import CannotDecideError, WmsError
from wms.registry.anchors import Witnesses
from wms.registry.companions import PICTURE
from wms.registry.earlier import tried_by
from wms.registry.gate import judge, summary_of
from wms.registry.gate_settings import GateSettings, held_back
from wms.registry.gate_tries import TryLog
from wms.registry.gate_types import GateReport
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.types import GateVerdict, NoVerdict
from wms.registry.verdicts import begin, read_verdict
from wms_ops.gate.drawing import draw_worst
from wms_ops.gate.evidence import Gathered, gather


def decide(
    registry: ModelRegistry,
    run: str,
    config: RunConfig,
    *,
    ledger: Path,
    source: str = "",
    witnesses: Witnesses | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[GateReport, Gathered]:
    """Compare a run (its id or name) with Production and store the verdict and the worst photos in the run.

    `source` says where the settings in `config` came from; `witnesses` are as in `gather`. The verdict names the
    settings and their source, and a refusal of these weights by stricter settings, after which the run doesn't pass.
    From the start of the attempt an older verdict of the run no longer counts. Raises CannotDecideError, which the run
    remembers, and the errors of `gather`.
    """
    run_id = registry.find_run(run).run_id
    older = None
    with contextlib.suppress(WmsError):  # what the server can't give now, `begin` reports
        older = read_verdict(registry, run_id)
    # Before anything else, so that a killed decision leaves no older verdict for a promotion to rely on.
    attempt = begin(registry, run_id, config.gate.mode)
    try:
        gathered = gather(registry, run_id, config, ledger=ledger, witnesses=witnesses, on_progress=on_progress)
        report = judge(gathered.evidence, config.gate, decided_at=datetime.now(UTC).isoformat(timespec="seconds"))
        settings = GateSettings.of(config.gate, report.grid, source)
        report = _beside_earlier(registry, report, settings, older)
        report = report.model_copy(update={"summary": summary_of(report.verdict, config.gate)})
        registry.write_artifact(run_id, PICTURE, draw_worst(report, gathered, config))
    except CannotDecideError as error:
        attempt.refuse(str(error))
        raise
    attempt.keep(report)
    return report, gathered


def _beside_earlier(
    registry: ModelRegistry, report: GateReport, settings: GateSettings, older: GateVerdict | NoVerdict | None
) -> GateReport:
    """Return the report with its settings, held back if an earlier verdict refused these weights by stricter ones.

    `older` is the run's own verdict so far, which counts beside those that the registry keeps.
    """
    verdict = report.verdict
    tries = TryLog(registry).about(verdict.run_id, verdict.weights_sha256, verdict)
    own = tried_by(older)
    held = held_back(settings, [*tries.found, *([own] if own else [])])
    told = list(tries.warnings)
    if isinstance(older, GateVerdict) and older.decision != "improved" and own is None:
        told.append(
            f"The gate of older code found this run {older.decision} at {older.decided_at}, by settings that aren't on "
            "record."
        )
    verdict = verdict.model_copy(
        update={"settings": settings, "held_back": held, "warnings": (*verdict.warnings, *told)}
    )
    passes = report.passes and (not held or verdict.mode == "dry-run")
    return report.model_copy(update={"verdict": verdict, "passes": passes})
