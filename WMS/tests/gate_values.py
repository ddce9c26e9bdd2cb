"""Evidence for the gate, from the Dice of both models on each test image."""

from __future__ import annotations

from typing import Any

from wms.config import GateConfig
from wms.registry.gate import judge
from wms.registry.gate_types import GateEvidence, GateModel, GateReport, MetricPair, ScoredImage

NOW = "2026-11-21T12:00:00+00:00"
HERE = "prepared-1"
RULE = GateConfig()


def score(dice: float, marked: float = 0.02) -> MetricPair:
    return MetricPair({"dice": dice, "iou": dice / (2 - dice)}, marked)


def side(name: str, version: int | None = None, **changes: Any) -> GateModel:
    values = {"weights_sha256": name * 8, "preprocessing": HERE, "input_size": 224}
    return GateModel(run_id=name, run_name=f"run_{name}", version=version, **{**values, **changes})


def evidence(before: list[float] | None, now: list[float], **changes: Any) -> GateEvidence:
    """One image for each Dice of the challenger, `before` of the champion if there is one."""
    images = tuple(
        ScoredImage(
            stem=f"meter_{index}",
            image_sha256=f"{index:064x}",
            width=1000 + index,
            height=1000,
            coverage=0.01 + index / 1000,
            challenger=score(dice),
            champion=None if before is None else score(before[index]),
        )
        for index, dice in enumerate(now)
    )
    champion = None if before is None else side("old", 7)
    values = {"test_version": "f" * 64, "grid": 512}
    return GateEvidence(**{"challenger": side("new"), "champion": champion, "images": images, **values, **changes})


def judged(before: list[float] | None, now: list[float], gate: GateConfig = RULE, **changes: Any) -> GateReport:
    return judge(evidence(before, now, **changes), gate, decided_at=NOW)
