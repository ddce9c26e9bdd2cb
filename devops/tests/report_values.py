"""Runs, gate reports and stories for tests of reports, as the loop would leave them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import numpy as np

from wms.registry.gate import judge
from wms.registry.gate_types import GateEvidence, GateModel, GateReport, MetricPair, ScoredImage
from wms_ops.runs.record import STEPS, RunOutcome, RunRecord, StepRecord, StepState

START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SECONDS = {
    "merge": 1.1, "validate": 1.4, "budget": 0.2, "up": 4.2, "train": 52.0, "gate": 6.3, "promote": 3.1,
    "smoke-deploy": 3.9, "metadata": 1.6, "report": 0.4, "pull-request": 1.9, "down": 1.2,
}  # fmt: skip
GATE = {
    "decision": "improved", "passes": "true", "gate_reason": "Both means are higher.", "champion_version": "1",
    "champion_dice": "0.7124", "champion_iou": "0.5933", "challenger_dice": "0.8617", "challenger_iou": "0.7702",
}  # fmt: skip
OUTPUTS: dict[str, dict[str, str]] = {
    "merge": {"branch": "data/20261121-120000", "commit": "4f2a" * 10},
    "validate": {"photos_before": "25", "photos_new": "24", "photos_total": "49", "data_oid": "ab" * 16},
    "budget": {"estimated_usd": "0.0147", "estimated_minutes": "5"},
    "up": {"mlflow_uri": "http://127.0.0.1:5000"},
    "train": {"run": "run_20261121_120010_0a1b2c3d", "run_id": "0a" * 16, "dice": "0.8617", "iou": "0.7702"},
    "gate": GATE,
    "promote": {"version": "2", "previous_version": "1"},
    "smoke-deploy": {"service": "http://127.0.0.1:8000", "latency_ms": "41", "smoke_dice": "0.91"},
    "metadata": {"commit": "9c1d" * 10},
    "report": {"body": "pull-request.md"},
    "pull-request": {"pull": "2", "pull_url": "origin#pulls:0002", "merged": "77aa" * 10},
    "down": {"cost_usd": "0.0140"},
}

HOSTILE = (
    "</td></details><script>alert(1)</script><img src=http://evil/x> | `x` @team #1 [a](javascript:alert(1)) "
    "![i](http://evil/x.png) **b** ~~c~~ $d$ www.evil.com &lt;e&gt; \u202etxt\n# heading"
)
"""A name that tries all ways out of Markdown and HTML."""


def merged(after: float = 4.0) -> RunRecord:
    """A run that was promoted and merged; its first step begins `after` seconds of the story."""
    steps, at = [], START + timedelta(seconds=after)
    for name in STEPS:
        text = f"The step {name} did its work."
        step = StepRecord(
            name=name, state=StepState.DONE, started_at=at.isoformat(), seconds=SECONDS[name], exit_code=0,
            outputs=OUTPUTS[name], text=text,
        )  # fmt: skip
        steps.append(step)
        at += timedelta(seconds=SECONDS[name] + 0.1)
    return RunRecord(
        id="r1",
        branch="data/20261121-120000",
        started_at=steps[0].started_at,
        outcome=RunOutcome.MERGED,
        reason="The new model is better.",
        steps=tuple(steps),
    )


def blocked(after: float = 4.0, **gate: str) -> RunRecord:
    """A run that the gate refused."""
    values = GATE | {"decision": "not improved", "passes": "false", "gate_reason": "Mean Dice fell."}
    values |= {"challenger_dice": "0.4312", "challenger_iou": "0.3120"} | gate
    record = merged(after).model_copy(update={"outcome": RunOutcome.BLOCKED, "reason": values["gate_reason"]})
    record = with_step(record, "gate", outputs=values, exit_code=90)
    for name in ("promote", "smoke-deploy", "metadata"):
        skipped = StepRecord(name=name, state=StepState.SKIPPED, text="The gate's verdict: not improved.")
        record = record.with_step(skipped)
    return with_step(record, "pull-request", outputs={"pull": "3", "pull_url": "origin#pulls:0003", "merged": ""})


def failed(name: str, text: str, code: int = 1) -> RunRecord:
    """A run in which one step failed, and those after it but `down` never began."""
    record = merged().model_copy(update={"outcome": RunOutcome.FAILED, "reason": text})
    for later in STEPS[STEPS.index(name) + 1 : -1]:
        record = record.with_step(StepRecord(name=later))
    return with_step(record, name, state=StepState.FAILED, text=text, exit_code=code, outputs={})


def running(name: str) -> RunRecord:
    """A run in the middle of a step."""
    record = merged().model_copy(update={"outcome": RunOutcome.RUNNING})
    for later in STEPS[STEPS.index(name) + 1 :]:
        record = record.with_step(StepRecord(name=later))
    return with_step(record, name, state=StepState.RUNNING, seconds=0.0, outputs={}, text="")


def with_step(record: RunRecord, name: str, **changes: object) -> RunRecord:
    """The record with something of one step changed."""
    return record.with_step(record.step(name).model_copy(update=changes))


def gate_report(images: int = 12, *, first: bool = False, stem: str = "meter_{}") -> GateReport:
    """A verdict of the real gate about scores that were drawn."""
    rng = np.random.default_rng(3)
    drawn = []
    for index in range(images):
        before = float(rng.uniform(0.55, 0.9))
        after = float(np.clip(before + rng.normal(0.04, 0.05), 0, 1))
        champion = None if first else MetricPair({"dice": before, "iou": before / (2 - before)}, 0.05)
        challenger = MetricPair({"dice": after, "iou": after / (2 - after)}, 0.05)
        drawn.append(ScoredImage(stem.format(index), f"{index:064x}", 640, 480, 0.05, challenger, champion))
    sides = [
        GateModel(f"{name:0>32}", f"run_{name}", version, f"{name:0>64}", "exif-rgb-bilinear-1", 128)
        for name, version in (("a", 1), ("b", None))
    ]
    evidence = GateEvidence(
        challenger=sides[1],
        champion=None if first else sides[0],
        images=tuple(drawn),
        test_version="c" * 64,
        grid=256,
    )
    from wms.config import GateConfig

    return judge(evidence, GateConfig(), decided_at=START.isoformat())


def _gate_says(record: RunRecord, **values: str) -> RunRecord:
    return with_step(record, "gate", outputs={**record.step("gate").outputs, **values})


ENDINGS = {
    "merged": merged(),
    "first": _gate_says(merged(), champion_version=""),
    "off": _gate_says(merged(), decision="not improved"),
    "blocked": blocked(),
    "undecided": blocked(decision="cannot decide", gate_reason="The split record differs."),
    "smoke": failed("smoke-deploy", "Version 2 answers 503.", 87),
    "grey": failed("validate", "a.png is grey.", 28),
    "train": failed("train", "Killed.", 89),
    "running": running("gate"),
    "nothing": with_step(merged(), "validate", outputs={"photos_before": "5", "photos_new": "0", "photos_total": "5"}),
}
"""Every way in which a run can end, and one that hasn't."""


class Page(HTMLParser):
    """What a page consists of: its tags with attributes, and all text outside of styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "path", "link", "hr"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)

    def values(self, attribute: str) -> list[str]:
        return [value or "" for _, attributes in self.tags for name, value in attributes.items() if name == attribute]
