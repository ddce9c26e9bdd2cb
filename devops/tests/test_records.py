"""Records of the loop and of the cloud, of older and of newer code: samples of each format are read for ever."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import ValidationError
from rich.console import Console

from wms.errors import WmsError
from wms.records import StoredRecord
from wms.tables import Column, make_table
from wms_ops.base.errors import CloudError, PipelineError, PullRequestError
from wms_ops.base.layout import LOOP
from wms_ops.commands.loop import LIST
from wms_ops.commands.status import loop_runs
from wms_ops.cost.sessions import EndedBy, Session
from wms_ops.machine.record import STATE, CloudRecord
from wms_ops.machine.workspace import Workspace
from wms_ops.pulls.pages import PullRecord, parse_record
from wms_ops.runs import plan
from wms_ops.runs import record as record_module
from wms_ops.runs.record import STEPS, RunOutcome, RunRecord, StepRecord, StepState
from wms_ops.runs.store import FILE, RunStore
from wms_ops.storage.bucket import Shared
from wms_ops.targets.aws.context import Used
from wms_ops.targets.aws.lease import Lease, LeaseClient
from wms_ops.targets.host import boot
from wms_ops.targets.host.backup import BackupNote
from wms_ops.targets.host.messages import REQUEST, Alive, DeployRequest, JobAnswer

V1 = Path(__file__).parent / "samples" / "v1"
NOW = datetime(2026, 11, 21, 11, tzinfo=UTC)

RECORDS: dict[str, tuple[type[StoredRecord], dict[str, object]]] = {
    FILE: (RunRecord, {"outcome": RunOutcome.FAILED, "outputs": {"commit": "d" * 40}}),
    STATE: (CloudRecord, {"mlflow_port": 5000, "current.version": 2, "pids": frozenset({4711, 4712})}),
    "pull.json": (PullRecord, {"number": 1, "state": "blocked", "folder": "0001"}),
    "session.json": (Session, {"busy_seconds": 1200.5, "ended_by": EndedBy.DOWN, "spot": False}),
    "lease.json": (Lease, {"holder": "ana", "until": datetime(2026, 11, 21, 12, tzinfo=UTC)}),
    "used.json": (Used, {"account": "123456789012"}),
    "latest.json": (BackupNote, {"size": 4096}),
    "answer.json": (JobAnswer, {"code": 0, "exit_code": 84, "backup.size": 4096}),
    "alive.json": (Alive, {"beat": 7, "phase": "running", "backup_at": None}),
}
OTHERS = {"boot.json", "request_deploy.json"}


def at(record: Any, path: str) -> object:
    for name in path.split("."):
        record = getattr(record, name)
    return record


def values_of(name: str) -> dict[str, Any]:
    return cast(dict[str, Any], json.loads((V1 / name).read_bytes()))


def parse(name: str, **more: object) -> StoredRecord:
    return RECORDS[name][0].parse(json.dumps(values_of(name) | more), name, CloudError, "restore it")


def test_each_sample_is_read_by_a_test() -> None:
    assert {path.name for path in V1.iterdir()} == RECORDS.keys() | OTHERS


@pytest.mark.parametrize("name", RECORDS)
def test_a_sample_means_what_it_meant(name: str) -> None:
    record = parse(name)
    for path, value in RECORDS[name][1].items():
        assert at(record, path) == value, path
    written, old = json.loads(record.model_dump_json()), values_of(name)
    assert {key: written[key] for key in old} == old
    assert not any(written[key] for key in written.keys() - old.keys())  # fields that are newer than the sample


@pytest.mark.parametrize("name", RECORDS)
def test_a_later_versions_field_survives_and_a_later_format_is_refused(name: str) -> None:
    record = parse(name, later={"n": [1]})
    for again in (record.model_copy(), record.changed()):
        assert json.loads(again.model_dump_json())["later"] == {"n": [1]}
    with pytest.raises(
        CloudError, match=rf"^{name} was written by a newer version \(format 2, .*; update this clone\.$"
    ):
        parse(name, format=2)


# ---- through the code that reads and writes each of them


def test_a_state_and_its_parts_keep_what_they_do_not_know(tmp_path: Path) -> None:
    values = values_of(STATE) | {"later": 1}
    values["current"]["later"] = values["servers"]["mlflow"]["later"] = 2
    (tmp_path / STATE).write_text(json.dumps(values), encoding="utf-8")
    Workspace(tmp_path).write(Workspace(tmp_path).read())
    assert json.loads((tmp_path / STATE).read_bytes()) == values


def test_a_pull_request_of_a_later_version() -> None:
    content = json.dumps(values_of("pull.json") | {"labels": ["data"]}).encode()
    assert json.loads(parse_record(content, "0001/pull.json").to_json())["labels"] == ["data"]
    with pytest.raises(PullRequestError, match="newer version"):
        parse_record(json.dumps(values_of("pull.json") | {"format": 3}).encode(), "0001/pull.json")


def test_a_session_ends_with_its_unknown_fields() -> None:
    values = values_of("session.json") | {"ended_at": None, "ended_by": None, "carbon_grams": 12}
    ended = Session.parse(json.dumps(values), "it", PipelineError, "").ended(NOW, EndedBy.REAPER)
    assert json.loads(ended.model_dump_json())["carbon_grams"] == 12
    assert ended.ended_at == NOW


@dataclass
class Kept:
    """A lease's object in a store."""

    value: dict[str, Any]
    writes: list[Any] = field(default_factory=list)

    def read(self) -> tuple[Any, str]:
        return self.value, str(len(self.writes))

    def replace(self, value: Any, etag: str | None) -> str:
        assert etag == str(len(self.writes))
        self.writes.append(value)
        self.value = value
        return str(len(self.writes))


def test_a_lease_is_renewed_with_its_unknown_fields_and_a_newer_one_is_left_alone() -> None:
    kept = Kept(values_of("lease.json") | {"purpose": "study"})
    promotions = LeaseClient(cast(Shared, kept), now=lambda: NOW)
    promotions.amend("ana")
    assert kept.value["purpose"] == "study" and kept.value["heartbeat_at"].startswith("2026-11-21T11:00")
    kept = Kept(values_of("lease.json") | {"format": 2})
    with pytest.raises(CloudError, match="newer version"):
        LeaseClient(cast(Shared, kept), now=lambda: NOW).take("bob", NOW)
    assert not kept.writes


def test_a_request_with_an_unknown_field_is_not_half_done() -> None:
    """A request says what is to be done, so a host that doesn't know a part of it refuses all of it."""
    content = (V1 / "request_deploy.json").read_bytes()
    assert REQUEST.validate_json(content) == DeployRequest(version=2, weights_sha256="b" * 64)
    with pytest.raises(ValidationError, match="canary"):
        REQUEST.validate_json(json.dumps(json.loads(content) | {"canary": 0.1}))


def test_a_report_of_the_start_keeps_steps_of_a_later_version(tmp_path: Path) -> None:
    report = values_of("boot.json")
    report["steps"].append({"step": "monitoring", "state": "done", "at": "", "sentence": ""})
    (tmp_path / boot.REPORT).write_text(json.dumps(report), encoding="utf-8")
    host = {"launch_id": report["launch_id"], "environment": "main", "region": "us-east-1"}
    (tmp_path / "host.json").write_text(json.dumps(host), encoding="utf-8")
    boot.report(tmp_path / "host.json", tmp_path, "mlflow", "done")
    steps = json.loads((tmp_path / boot.REPORT).read_bytes())["steps"]
    assert [(one["step"], one["state"]) for one in steps] == [
        ("packages", "done"), ("mlflow", "done"), ("monitoring", "done"),
    ]  # fmt: skip


# ---- runs that were begun by code with other steps


def stored(folder: Path, edit: Any) -> tuple[RunStore, RunRecord]:
    values = values_of(FILE)
    values["steps"] = edit(values["steps"])
    store = RunStore(folder)
    store.path(values["id"]).mkdir(parents=True)
    (store.path(values["id"]) / FILE).write_text(json.dumps(values), encoding="utf-8")
    return store, store.load(values["id"])


@pytest.mark.parametrize("missing", STEPS)
def test_a_run_begun_before_a_step_was_added_goes_on(tmp_path: Path, missing: str) -> None:
    _, record = stored(tmp_path, lambda steps: [step for step in steps if step["name"] != missing])
    assert tuple(step.name for step in record.steps) == STEPS
    assert record.step(missing) == StepRecord(name=missing)
    again = plan.reopened(record)
    first = min(STEPS.index(missing), STEPS.index("up"))  # what was torn down is started again
    assert plan.next_step(again) == STEPS[first]


def test_one_more_step_than_the_record_was_begun_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    more = (*STEPS[:2], "scan", *STEPS[2:])
    for module in (record_module, plan):
        monkeypatch.setattr(module, "STEPS", more)
    _, record = stored(tmp_path, lambda steps: steps)
    assert plan.next_step(plan.reopened(record)) == "scan"
    done = record.with_step(StepRecord(name="scan", state=StepState.DONE))
    assert tuple(step.name for step in done.steps) == more
    assert RunStore(tmp_path / "new").create("data/x").step("scan").state is StepState.WAITING


PLAIN: dict[str, Any] = {"id": "r", "branch": "data/x", "started_at": "2026-11-21T10:00:00+00:00"}
LATER = {"name": "sign", "state": "done", "text": "Signed.", "seconds": 2.0, "key": "k"}


def test_a_step_of_a_later_version_is_kept_and_named(tmp_path: Path) -> None:
    store, record = stored(tmp_path, lambda steps: [*steps[:3], LATER, *steps[3:]])
    assert [step.name for step in record.unknown_steps] == ["sign"]
    assert "; sign is unknown here" in plan.warning(record) and not plan.warning(RunRecord(**PLAIN))
    again = plan.reopened(record)
    assert plan.next_step(again) == "up"
    store.save(again.with_step(StepRecord(name="up", state=StepState.DONE)))
    kept = json.loads((store.path(record.id) / FILE).read_bytes())["steps"]
    assert kept[3]["name"] == "sign" and LATER.items() <= kept[3].items()


def test_a_failed_step_of_a_later_version_keeps_the_run_from_promoting(tmp_path: Path) -> None:
    failed = LATER | {"state": "failed", "exit_code": 1}
    _, record = stored(tmp_path, lambda steps: [*steps[:3], failed, *steps[3:]])
    again = plan.reopened(record)
    assert again.step("sign").state is StepState.FAILED
    assert plan.next_step(again) in plan.TELLING
    assert "sign" in plan.ended(again).reason


def test_a_run_of_a_later_format_is_refused_in_a_sentence(tmp_path: Path) -> None:
    store, record = stored(tmp_path, lambda steps: steps)
    path = store.path(record.id) / FILE
    path.write_text(json.dumps(values_of(FILE) | {"format": 2}), encoding="utf-8")
    with pytest.raises(WmsError, match=r"run\.json was written by a newer version .*; update this clone\."):
        store.load(record.id)


def test_a_damaged_run_is_named_and_the_others_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = "b[/x]:warning:[red]"
    loop = tmp_path / LOOP
    for name, more in {"a": {"branch": odd}, "b": {"steps": [{"name": "merge", "seconds": -0.01}]}}.items():
        (loop / "runs" / name).mkdir(parents=True)
        text = json.dumps(values_of(FILE) | {"id": name} | more)
        (loop / "runs" / name / FILE).write_text(text, encoding="utf-8")
    assert LIST(["--folder", str(loop)]) == PipelineError.exit_code
    out, err = capsys.readouterr()
    assert f"{odd}: " in out
    assert err.count("\n") == 1 and "steps.0.seconds" in err and str(loop / "runs" / "b" / FILE) in err
    part = loop_runs(tmp_path)
    assert [one["id"] for one in part["runs"]] == ["a"] and "steps.0.seconds" in part["damaged"][0]


def test_no_text_of_a_table_is_markup(capsys: pytest.CaptureFixture[str]) -> None:
    odd = "[red]a[/x]:warning:"
    Console().print(make_table([Column(odd)], [[odd]], title=odd))
    assert capsys.readouterr().out.count(odd) == 3
