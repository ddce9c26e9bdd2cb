"""Records of older and newer code: samples of each format are read for ever, unknown fields and old lines survive."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from wms.data.card import CardFacts, CardPair, extend
from wms.data.manifest import Manifest
from wms.data.splits import SplitRecord
from wms.data.versions import DataVersionManager
from wms.errors import LedgerError, ModelDamagedError, TrackingError, WmsError
from wms.files import canonical_json, read_object, sha256_text
from wms.inference.predictor import read_card
from wms.records import StoredRecord
from wms.registry import ledger as ledger_module
from wms.registry.gate_types import GateReport
from wms.registry.ledger import CURRENT, FIRST, HISTORY, Ledger, LedgerEntry, LedgerRecord
from wms.registry.metadata import ModelMetadata, write_metadata
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.types import GateVerdict, NoVerdict
from wms.registry.verdicts import read_verdict
from wms.training.attempts_file import Attempts
from wms.training.mlflow_sender import SyncState
from wms.training.tracker import METRICS_FILE, read_records

SAMPLES = Path(__file__).parent / "samples"
V1, V2 = SAMPLES / "v1", SAMPLES / "v2"

RECORDS: dict[str, tuple[type[StoredRecord], dict[str, object]]] = {
    CURRENT: (LedgerEntry, {"seq": 3, "action": "rollback", "who": "Zoë", "metrics.dice": 0.9123}),
    "model-metadata.json": (ModelMetadata, {"model_version": 1, "training_data_count": 300, "github_run": "7"}),
    "v2/model-metadata.json": (
        ModelMetadata,
        {"model_version": 2, "training_data_count": 400, "training_split_count": 300, "github_run": 77},
    ),
    "v2/nothing_promoted.json": (ModelMetadata, {"model_version": None, "metrics": None, "github_run": None}),
    "verdict.json": (GateVerdict, {"decision": "improved", "champion_version": 1, "challenger.iou": 0.84}),
    "no_verdict.json": (NoVerdict, {"decision": "cannot decide", "mode": "enforce"}),
    "gate_report.json": (GateReport, {"verdict.test_images": 30, "dice.low": 0.05, "challenger.input_size": 128}),
    "card.json": (CardFacts, {"version": 1, "total.images": 2, "newest.mask_bytes": 410}),
    "attempts.json": (Attempts, {"best.seed": 7, "best.val_dice": 0.9123}),
    "mlflow_sync.json": (SyncState, {"sent": 2, "finished": False, "run_id": "a" * 32}),
}
OTHERS = {HISTORY, "splits.jsonl", "data_versions.jsonl", METRICS_FILE, "production.json"}
"""Samples that the tests further below read: lines, and the model's card."""


def at(record: Any, path: str) -> object:
    for name in path.split("."):
        record = getattr(record, name)
    return record


def sample(name: str) -> Path:
    """A sample's file: of format 1 unless the name has a folder."""
    return SAMPLES / name if "/" in name else V1 / name


def with_field(line: str, **more: object) -> str:
    return json.dumps(json.loads(line) | more)


def parse(name: str, **more: object) -> StoredRecord:
    values = json.loads(sample(name).read_bytes()) | more
    return RECORDS[name][0].parse(json.dumps(values), name, TrackingError, "restore it")


def test_each_sample_is_read_by_a_test() -> None:
    assert {sample(name) for name in RECORDS.keys() | OTHERS} == {
        path for path in SAMPLES.glob("v*/*") if path.is_file()
    }


def assert_only_grown(now: object, stored: object, newer: str) -> None:
    """Every stored value is there, at any depth; a later version may add fields whose default says nothing."""
    if not isinstance(stored, dict) or not isinstance(now, dict):
        assert now == stored
        return
    assert not any(now[key] for key in now.keys() - stored.keys() - {newer}), now
    for key, value in stored.items():
        assert_only_grown(now[key], value, newer)


@pytest.mark.parametrize("name", RECORDS)
def test_a_sample_means_what_it_meant(name: str) -> None:
    record = parse(name)
    for path, value in RECORDS[name][1].items():
        assert at(record, path) == value, path
    again, stored = json.loads(record.model_dump_json()), json.loads(sample(name).read_bytes())
    assert_only_grown(again, stored, type(record).FORMAT_FIELD)


@pytest.mark.parametrize("name", RECORDS)
def test_a_later_versions_field_survives_and_a_later_format_is_refused(name: str) -> None:
    later = {"who": ["Ann"], "n": 1}
    record = parse(name, later=later)
    assert json.loads(record.model_copy().model_dump_json())["later"] == later
    assert json.loads(record.changed().model_dump_json())["later"] == later
    key, newest = type(record).FORMAT_FIELD, type(record).NEWEST
    with pytest.raises(TrackingError) as caught:
        parse(name, **{key: newest + 1})
    assert str(caught.value) == (
        f"{name} was written by a newer version ({key} {newest + 1}, this one reads up to {newest}); update this clone."
    )


@pytest.mark.parametrize("wrong", [1.0, "1", "2", 2.0, True, None, 0, [1]])
@pytest.mark.parametrize("name", RECORDS)
def test_a_format_that_is_no_whole_number_is_refused(name: str, wrong: object) -> None:
    key = RECORDS[name][0].FORMAT_FIELD
    with pytest.raises(TrackingError) as caught:
        parse(name, **{key: wrong})
    needed = "but a whole number from 1 on is needed; restore it."
    assert str(caught.value) == f"{name} is damaged: its content: {key} is {json.dumps(wrong)}, {needed}"


@pytest.mark.parametrize("name", [METRICS_FILE, "splits.jsonl", "data_versions.jsonl", "production.json"])
def test_a_line_or_card_whose_format_is_no_whole_number_is_refused(name: str, tmp_path: Path) -> None:
    lines = (V1 / name).read_text(encoding="utf-8")
    texts = lines.splitlines() if name.endswith(".jsonl") else [lines]
    (tmp_path / name).write_text("".join(with_field(text, format=2.0) + "\n" for text in texts), encoding="utf-8")
    with pytest.raises(WmsError, match=r"format is 2\.0, but a whole number"):
        READERS[name](tmp_path / name)


@pytest.mark.parametrize("name", RECORDS)
def test_a_damaged_record_is_named_in_a_sentence(name: str) -> None:
    with pytest.raises(TrackingError, match=rf"^{name} is damaged: its content: .*; restore it\.$"):
        RECORDS[name][0].parse(b"{", name, TrackingError, "restore it")


NESTED = b"[" * 200_000
READERS: dict[str, Callable[[Path], object]] = {
    HISTORY: lambda path: Ledger(path.parent).entries(),
    "data_versions.jsonl": lambda path: DataVersionManager(path.parent).get("run"),
    "splits.jsonl": SplitRecord,
    METRICS_FILE: read_records,
    "production.json": read_card,
    "metadata.json": read_object,
    "manifest": lambda path: Manifest.parse(path.read_bytes()),
    **{
        name: lambda path, kind=kind: kind.parse(path.read_bytes(), path.name, TrackingError, "")  # type: ignore[misc]
        for name, (kind, _) in RECORDS.items()
    },
}


@pytest.mark.parametrize("name", READERS)
def test_brackets_without_end_are_damage(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(NESTED + b"\n{}\n" if name.endswith(".jsonl") else NESTED)
    with pytest.raises(WmsError):
        READERS[name](tmp_path / name)


# ---- the ledger


def test_the_ledger_of_format_1_verifies() -> None:
    entries = Ledger(V1).entries()
    assert [(one.action, one.to_version) for one in entries] == [("promote", 1), ("promote", 2), ("rollback", 1)]
    assert entries[-1].previous_hash == entries[1].hash
    assert entries[-1].page == (V1 / CURRENT).read_text(encoding="utf-8")


class LaterEntry(LedgerEntry):
    """A later version's entry: one more optional field."""

    approved_by: str = ""


def test_a_new_optional_field_leaves_old_lines_as_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copytree(V1, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(ledger_module, "LedgerEntry", LaterEntry)
    ledger = Ledger(tmp_path)
    before = ledger.history.read_bytes()
    entries = ledger.entries()
    assert isinstance(entries[0], LaterEntry) and not entries[0].approved_by
    assert "".join(f"{one.line}\n" for one in entries).encode() == before
    ledger.write_current(entries[-1])
    assert ledger.newest.read_bytes() == (V1 / CURRENT).read_bytes()
    ledger.append(LedgerRecord.model_validate(entries[-1].model_dump(include=set(LedgerRecord.model_fields))))
    assert ledger.history.read_bytes().startswith(before)
    assert len(ledger.entries()) == 4


def later_lines() -> list[str]:
    """The sample's entries as a later version would have written them: each with a field more, hashed over all."""
    lines, previous = [], FIRST
    for number, text in enumerate((V1 / HISTORY).read_text(encoding="utf-8").splitlines(), start=1):
        values = json.loads(text) | {"previous_hash": previous, "approved_by": {"name": "Zoë", "number": number}}
        del values["hash"]
        previous = sha256_text(canonical_json(values))
        lines.append(canonical_json(values | {"hash": previous}))
    return lines


def test_fields_of_a_later_version_are_hashed_kept_and_passed_on(tmp_path: Path) -> None:
    lines = later_lines()
    (tmp_path / HISTORY).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    entries = Ledger(tmp_path).entries()
    assert [one.line for one in entries] == lines  # what a promotion sends to the registry
    other = Ledger(tmp_path / "other")
    for entry in entries:
        other.append(entry)
    assert other.history.read_bytes() == (tmp_path / HISTORY).read_bytes()
    assert json.loads(other.newest.read_bytes()) == json.loads(lines[-1])
    (tmp_path / HISTORY).write_text(lines[0].replace("Zoë", "Ann") + "\n", encoding="utf-8")
    with pytest.raises(LedgerError, match="line 1 was changed after it was written"):
        Ledger(tmp_path).entries()


# ---- what is made from it


def test_metadata_keeps_a_later_versions_fields_about_the_same_promotion(tmp_path: Path) -> None:
    _, older, newest = Ledger(V1).entries()
    path = tmp_path / "model-metadata.json"
    shutil.copy(V1 / "model-metadata.json", path)
    assert not write_metadata(newest, path)  # byte for byte what format 1 was
    later = json.loads(path.read_bytes()) | {"carbon_grams": 3}
    path.write_text(json.dumps(later, indent=2) + "\n", encoding="utf-8")
    assert not write_metadata(newest, path)
    path.write_text(json.dumps(later | {"baseline": None}), encoding="utf-8")
    assert write_metadata(newest, path)
    assert json.loads(path.read_bytes()) == later
    assert write_metadata(older, path)  # it said nothing of this one
    assert "carbon_grams" not in json.loads(path.read_bytes())
    path.write_text(json.dumps(later | {"format": 3}), encoding="utf-8")
    with pytest.raises(ModelDamagedError, match=r"newer version \(format 3.*update this clone"):
        write_metadata(newest, path)


def verdict_of(content: dict[str, object]) -> GateVerdict | NoVerdict | None:
    said = SimpleNamespace(
        read_artifact=lambda _run, _path: json.dumps(content).encode(), run=lambda _run: SimpleNamespace(tags={})
    )
    return read_verdict(cast(ModelRegistry, said), "a" * 32)


def test_a_verdict_counts_with_a_field_more_but_not_in_another_format() -> None:
    values = json.loads((V1 / "verdict.json").read_bytes())
    assert isinstance(verdict_of(values | {"reviewed": True}), GateVerdict)
    for spoiled, words in (({"format": 2}, "update this clone"), ({"decision": "fine"}, "decision: Input should be")):
        found = verdict_of(values | spoiled)
        assert isinstance(found, NoVerdict) and found.decision == "damaged verdict" and words in found.reason


def test_a_card_grows_and_keeps_what_it_does_not_know() -> None:
    values = json.loads((V1 / "card.json").read_bytes())
    values["later"], values["total"]["later"] = 1, 2
    grown = extend(CardFacts.from_json(json.dumps(values)), [CardPair("m3", "train", 640, 480, 900, 100, 0.01)])
    again = json.loads(grown.to_json())
    assert (again["later"], again["total"]["later"], again["total"]["images"]) == (1, 2, 3)


# ---- files of lines, and the model's card
