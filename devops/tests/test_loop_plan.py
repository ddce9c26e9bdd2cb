"""What comes next in a run, how it goes on after a kill, and how it ended: pure."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from wms_ops.base.errors import PipelineError
from wms_ops.loop import driver, parts
from wms_ops.loop.steps import TABLE, values_for
from wms_ops.runs import plan
from wms_ops.runs.record import STEPS, RunOutcome, RunRecord, StepRecord, StepState
from wms_ops.runs.store import FILE, RunStore

OUTPUTS = {
    "merge": {"branch": "data/x", "commit": "c" * 40},
    "validate": {"photos_before": "25", "photos_new": "24", "photos_total": "49"},
    "gate": {"decision": "improved", "passes": "true", "gate_reason": "Both improved."},
    "pull-request": {"pull": "1", "pull_url": "somewhere", "merged": "m" * 40},
}
WORSE = {"decision": "not improved", "passes": "false", "gate_reason": "Dice fell."}


def start() -> RunRecord:
    return RunRecord(id="r", branch="data/x", started_at="2026-11-21T10:00:00+00:00")


def played(record: RunRecord, *, outputs: dict[str, dict[str, str]] = OUTPUTS, fail: str = "") -> RunRecord:
    """A run to its end, with what each step would say; `fail` names the step that fails."""
    while (name := plan.next_step(record := plan.skip_pointless(record))) is not None:
        record = over(record, name, outputs, fail)
    return plan.ended(over(record, "down", outputs, fail))


def over(record: RunRecord, name: str, outputs: dict[str, dict[str, str]], fail: str) -> RunRecord:
    if name == fail:
        return record.with_step(StepRecord(name=name, state=StepState.FAILED, exit_code=77, text="It broke."))
    code = 90 if name == "gate" and outputs["gate"] is WORSE else 0
    done = StepRecord(name=name, state=StepState.DONE, exit_code=code, outputs=outputs.get(name, {}))
    return record.with_step(done)


def states(record: RunRecord, state: StepState) -> list[str]:
    return [step.name for step in record.steps if step.state is state]


def test_every_step_has_a_command_and_the_other_way_round() -> None:
    assert tuple(TABLE) == STEPS


def test_a_better_model_is_merged() -> None:
    record = played(start())
    assert states(record, StepState.DONE) == list(STEPS)
    assert (record.outcome, plan.exit_code(record)) == (RunOutcome.MERGED, 0)


def test_a_worse_model_is_neither_promoted_nor_merged() -> None:
    blocked = {**OUTPUTS, "gate": WORSE, "pull-request": {"pull": "1", "pull_url": "u", "merged": ""}}
    record = played(start(), outputs=blocked)
    assert states(record, StepState.SKIPPED) == ["promote", "smoke-deploy", "metadata"]
    assert (record.outcome, record.reason, plan.exit_code(record)) == (RunOutcome.BLOCKED, "Dice fell.", 90)


def test_main_with_the_same_data_starts_nothing() -> None:
    same = {**OUTPUTS, "validate": {"photos_before": "25", "photos_new": "0", "photos_total": "25"}}
    record = played(start(), outputs=same)
    assert states(record, StepState.DONE) == ["merge", "validate", "down"]
    assert (record.outcome, plan.exit_code(record)) == (RunOutcome.NOTHING, 0)


@pytest.mark.parametrize("name", STEPS)
def test_whatever_fails_the_loop_tells_of_it_and_takes_the_instance_down(name: str) -> None:
    record = played(start(), fail=name)
    assert record.outcome is RunOutcome.FAILED
    assert plan.exit_code(record) == 77
    assert "It broke." in record.reason
    done = states(record, StepState.DONE)
    assert ("down" in done) == (name != "down")
    if name not in ("merge", "report", "pull-request", "down"):
        assert done[-3:] == ["report", "pull-request", "down"]
    after = STEPS[STEPS.index(name) + 1 :]
    assert not [one for one in after if one in done and one not in ("report", "pull-request", "down")]


@pytest.mark.parametrize("name", STEPS)
def test_a_broken_run_goes_on_at_the_step_that_broke(name: str) -> None:
    broken = played(start(), fail=name)
    again = plan.reopened(broken)
    first = plan.next_step(again)
    on_instance = STEPS.index("budget") < STEPS.index(name) < STEPS.index("report")
    # A smoke deployment that failed has rolled the promotion back.
    undone = STEPS.index(name) <= STEPS.index("promote") or name == "smoke-deploy"
    assert again.step("promote").state is (StepState.WAITING if undone else StepState.DONE)
    expected = {"report": "report", "pull-request": "report", "down": "report"}.get(name, name)
    assert first == ("up" if on_instance else expected)
    record = played(again)
    assert record.outcome is RunOutcome.MERGED
    assert {step.state for step in record.steps} == {StepState.DONE}


@pytest.mark.parametrize("name", STEPS)
def test_a_killed_run_goes_on_too(name: str) -> None:
    record = start()
    while (step := plan.next_step(record)) is not None and step != name:
        record = over(record, step, OUTPUTS, "")
    killed = record.with_step(StepRecord(name=name, state=StepState.RUNNING))
    assert played(plan.reopened(killed)).outcome is RunOutcome.MERGED


def test_a_step_takes_what_the_record_lacks_from_the_environment() -> None:
    record = start()
    with pytest.raises(PipelineError, match=r"has no commit.*WMS_COMMIT"):
        values_for(TABLE["gate"], "gate", record, {})
    values = values_for(TABLE["gate"], "gate", record, {"WMS_COMMIT": "c", "WMS_RUN_ID": "r"})
    assert (values["commit"], values["run_id"]) == ("c", "r")


def test_records_are_kept_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    record = store.create("data/a b/ü")
    moved = record.with_step(StepRecord(name="merge", state=StepState.DONE, outputs={"branch": "data/other"}))
    store.save(moved)
    assert store.newest("data/a b/ü") == store.newest("data/other") == moved
    assert store.newest("data/none") is None
    (store.path(record.id) / FILE).write_text("{")
    with pytest.raises(PipelineError, match="damaged"):
        store.load(record.id)


def test_a_gate_that_could_not_decide_is_asked_again() -> None:
    unsure = {"decision": "cannot decide", "passes": "false", "gate_reason": "A test photo is gone."}
    blocked = played(start(), outputs={**OUTPUTS, "gate": unsure, "pull-request": {"pull": "1", "merged": ""}})
    assert blocked.outcome is RunOutcome.BLOCKED
    again = plan.reopened(blocked)
    assert plan.next_step(again) == "up"
    assert played(again).outcome is RunOutcome.MERGED


def test_a_merge_that_waits_for_a_person_is_no_failure() -> None:
    record = played(start(), outputs={**OUTPUTS, "pull-request": {"pull": "1", "merged": ""}})
    assert (record.outcome, plan.exit_code(record)) == (RunOutcome.WAITING, 0)


@pytest.mark.parametrize("step", ["merge", "validate"])
def test_whoever_brought_data_that_is_refused_is_told(step: str) -> None:
    record = played(start(), fail=step)
    assert plan.was_refused(record)
    done = states(record, StepState.DONE)
    assert [name for name in done if name in plan.TELLING] == list(plan.TELLING)
    assert "up" not in done and (record.outcome, plan.exit_code(record)) == (RunOutcome.FAILED, 77)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("whole", [True, False], ids=["a loop", "a part"])
def test_a_stop_that_a_library_swallows_counts_before_the_next_step(
    number: signal.Signals, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where it comes within a callback, whose exceptions Python only prints."""
    done: list[str] = []

    def carried(_context: Any, _store: Any, record: RunRecord, name: str, _teller: Any) -> RunRecord:
        done.append(name)
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(number)
        return over(record, name, OUTPUTS, "")

    monkeypatch.setattr(driver, "carry_on", carried)
    monkeypatch.setattr(parts, "carry_on", carried)
    store, record = cast("Any", SimpleNamespace(save=lambda _: None, keep=lambda _: None)), start()
    with pytest.raises(KeyboardInterrupt):
        if whole:
            with driver.stoppable() as check:
                driver._steps(cast("Any", None), store, record, cast("Any", None), check)
        else:
            parts.run_part(lambda _: cast("Any", None), store, record, "data", cast("Any", None))
    assert done == ["merge"]
