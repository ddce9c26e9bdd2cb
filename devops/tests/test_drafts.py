"""A run's draft and the person who closes it, whichever job is run again, without an instance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from wms.metrics import METRICS
from wms_ops.base.errors import StoreUnreachableError
from wms_ops.loop import parts
from wms_ops.loop.console import ConsoleTeller
from wms_ops.loop.context import RunContext
from wms_ops.loop.drafts import open_draft
from wms_ops.loop.parts import run_part
from wms_ops.loop.shared_runs import SharedRunStore
from wms_ops.pulls.protocol import Pull, PullState
from wms_ops.runs.record import RunOutcome, RunRecord, StepRecord, StepState

BRANCH = "data/20261129-100000"
PULL = Pull(1, BRANCH, "Add data", PullState.DRAFT, "https://example.org/1", "a" * 40)


class Pulls:
    """Pull requests that know how number 1 ended, and count the opened ones."""

    def __init__(self) -> None:
        self.end, self.opened, self.down = "", 0, False

    def ended(self, number: int) -> str:
        assert number == 1
        if self.down:
            raise StoreUnreachableError("GitHub can't be asked.")
        return self.end

    def open(self, *_: str, draft: bool) -> Pull:
        assert draft
        self.opened += 1
        return replace(PULL, number=self.opened)


@pytest.fixture
def pulls() -> Pulls:
    return Pulls()


@pytest.fixture
def context(pulls: Pulls, tmp_path: Path) -> RunContext:
    cloud = SimpleNamespace(endpoints=lambda: None)
    return cast(RunContext, SimpleNamespace(pulls=pulls, folder=tmp_path, environ={}, cloud=cloud))


def after(last: str, **outputs: str) -> RunRecord:
    """A run whose steps up to `last` are done."""
    scores = {f"{side}_{name}": "0.9" for side in ("champion", "challenger") for name in METRICS}
    values = {
        "merge": {"branch": BRANCH, "commit": "a" * 40},
        "validate": {"photos_before": "0", "photos_new": "25", "photos_total": "25"},
        "budget": {"estimated_usd": "0.1", "estimated_minutes": "9", **outputs},
        "up": {},
        "train": {"run": "r", "run_id": "0" * 32},
        "gate": {"decision": "improved", "passes": "true", **scores},
    }
    record = RunRecord(id="r", branch=BRANCH, started_at="2026-11-29T10:00:00+00:00")
    for name in tuple(values)[: tuple(values).index(last) + 1]:
        record = record.with_step(StepRecord(name=name, state=StepState.DONE, outputs=values[name]))
    return record


@pytest.fixture
def carried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps that a part begins; each is done at once."""
    begun: list[str] = []

    def carry_on(_: Any, __: Any, record: RunRecord, name: str, ___: Any) -> RunRecord:
        begun.append(name)
        return record.with_step(StepRecord(name=name, state=StepState.DONE))

    monkeypatch.setattr(parts, "carry_on", carry_on)
    return begun


def released(context: RunContext, record: RunRecord) -> RunRecord:
    store = cast(SharedRunStore, SimpleNamespace(save=lambda _: None, keep=lambda _: None))
    return run_part(lambda _: context, store, record, "release", ConsoleTeller())


def test_a_release_that_is_run_again_while_the_draft_is_closed_promotes_nothing(
    context: RunContext, pulls: Pulls, carried: list[str]
) -> None:
    pulls.end = "closed"
    record = released(context, after("gate", pull="1"))
    for _ in range(2):  # the job once more, before and after the part tell has ended the run
        assert record.step("promote").state is StepState.FAILED and carried == []
        record = released(context, record.model_copy(update={"outcome": RunOutcome.FAILED}))
    pulls.end = ""
    record = released(context, record)
    assert carried == ["up", "promote", "smoke-deploy", "metadata"]


def test_a_release_with_a_later_failure_looks_again(context: RunContext, pulls: Pulls, carried: list[str]) -> None:
    pulls.end = "closed"
    record = after("gate", pull="1").with_step(StepRecord(name="promote", state=StepState.FAILED, exit_code=1))
    assert "A person closed" in released(context, record).step("promote").text and carried == []


def test_a_draft_that_a_person_merged_promotes_nothing(context: RunContext, pulls: Pulls, carried: list[str]) -> None:
    pulls.end = "merged"
    assert "merged pull request 1 before the verdict" in released(context, after("gate", pull="1")).step("promote").text
    assert carried == []


def test_a_release_that_cannot_ask_starts_nothing(context: RunContext, pulls: Pulls, carried: list[str]) -> None:
    pulls.down = True
    with pytest.raises(StoreUnreachableError):
        released(context, after("gate", pull="1"))
    assert carried == []


def test_the_data_run_again_opens_no_second_draft_in_place_of_a_closed_one(context: RunContext, pulls: Pulls) -> None:
    record = open_draft(context, after("budget"), lambda _: None)
    assert record.outputs["pull"] == "1"
    pulls.end, said = "closed", list[str]()
    assert open_draft(context, record, said.append) == record
    assert pulls.opened == 1 and "A person closed pull request 1" in said[0]
