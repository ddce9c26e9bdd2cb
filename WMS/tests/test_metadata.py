"""model-metadata.json: before the first promotion, after one, written by older code, damaged, changed by hand."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from wms.errors import ModelDamagedError
from wms.paths import ROOT
from wms.registry.ledger import Ledger, LedgerEntry, LedgerRecord
from wms.registry.metadata import (
    METADATA,
    NOTHING_PROMOTED,
    baseline,
    metadata_fault,
    metadata_of,
    read_metadata,
    write_metadata,
)

SAMPLES = Path(__file__).parent / "samples"
RUN = "https://github.example/team/meters/actions/runs/77"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """The entries of the samples, which older code wrote, and one of this code."""
    shutil.copytree(SAMPLES / "v1", tmp_path, dirs_exist_ok=True)
    ledger = Ledger(tmp_path)
    promote(ledger)
    return ledger


def promote(ledger: Ledger, **more: object) -> LedgerEntry:
    values = ledger.entries()[1].model_dump(include=set(LedgerRecord.model_fields))
    new = {"at": "2026-11-24T12:00:00+00:00", "to_version": 4, "data_set_count": 400, "github_run": RUN}
    return ledger.append(LedgerRecord.model_validate({**values, **new, **more}))


def test_git_holds_the_file_in_the_form_of_its_writer() -> None:
    found = read_metadata(METADATA, Ledger())
    assert METADATA.parent == ROOT and found is not None
    assert METADATA.read_text(encoding="utf-8").replace("\r\n", "\n") == found.text


def test_the_whole_set_is_counted_and_the_training_split_beside_it(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text(NOTHING_PROMOTED, encoding="utf-8")
    entry = ledger.entries()[-1]
    assert write_metadata(entry, path) and not write_metadata(entry, path)
    values = json.loads(path.read_bytes())
    assert list(values)[:7] == list(json.loads(NOTHING_PROMOTED))[:7]
    assert (values["training_data_count"], values["training_split_count"]) == (400, entry.training_data_count)
    assert (values["model_version"], values["github_run"], values["format"]) == (4, 77, 2)
    elsewhere = promote(ledger, github_run="", to_version=5)
    write_metadata(elsewhere, path)
    assert json.loads(path.read_bytes())["github_run"] is None
    found = read_metadata(path, ledger)
    assert found is not None and found.model_version == 5


def test_what_older_code_wrote_stays_as_written(ledger: Ledger) -> None:
    """The file is about an entry before the newest, as `git pull` or a killed promotion leaves it."""
    path = ledger.folder / "model-metadata.json"
    found = read_metadata(path, ledger)
    assert found is not None and found.format == 1
    assert (found.training_data_count, found.training_split_count, found.github_run) == (300, None, "7")
    assert found.text == path.read_text(encoding="utf-8") == metadata_of(ledger.entries()[2]).text


def test_nothing_promoted_is_no_damage_and_no_proof(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text(NOTHING_PROMOTED, encoding="utf-8")
    for known in (ledger, Ledger(tmp_path / "empty")):
        assert metadata_fault(path, known) == ""
        found = read_metadata(path, known)
        assert found is not None and found.model_version is None and found.text == NOTHING_PROMOTED
    assert set(json.loads(NOTHING_PROMOTED).values()) == {None, 2}
    assert read_metadata(tmp_path / "absent.json", ledger) is None
    shutil.copy(path, ledger.folder / "model-metadata.json")
    assert baseline(None, ledger)["version"] == 4


@pytest.mark.parametrize("promoted_at", ["2026-11-24T12:00:00+00:00", None])
def test_a_file_ahead_of_an_empty_ledger_is_damage_and_one_behind_is_not(
    ledger: Ledger, tmp_path: Path, promoted_at: str | None
) -> None:
    path, empty = tmp_path / "file.json", Ledger(tmp_path / "empty")
    values = json.loads(metadata_of(ledger.entries()[-1]).text) | {"promoted_at": promoted_at}
    path.write_text(json.dumps(values), encoding="utf-8")
    said = f"{path} names version 4, but {empty.history} has no entry; restore both from Git, "
    assert metadata_fault(path, empty).startswith(said)
    promote(ledger, to_version=5, at="2026-11-25T12:00:00+00:00")
    write_metadata(ledger.entries()[-2], path)
    assert metadata_fault(path, ledger) == ""


def test_a_missing_file_and_a_folder_in_its_place_are_faults(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    assert metadata_fault(path, ledger).startswith(f"{path} is missing; restore it from Git")
    path.mkdir()
    assert metadata_fault(path, ledger).startswith(f"{path} can't be read (Is a directory): move it away; restore it")


DAMAGE: dict[str, tuple[Any, str]] = {
    "no JSON": (lambda text: text[:-9], "is damaged: its content: Invalid JSON"),
    "a list": (lambda _: "[]", "is damaged: its content: Input should be an object"),
    "a text for a version": ({"model_version": "three"}, "is damaged: model_version: Input should be a valid integer"),
    **{
        f"format {text}": ({"format": value}, f"its content: format is {text}, but a whole number from 1 on is needed")
        for text, value in (("3.0", 3.0), ("2.0", 2.0), ('"3"', "3"), ("true", True), ("null", None), ("0", 0))
    },
    "version 0": ({"model_version": 0}, "is damaged: model_version: Input should be greater than or equal to 1"),
    "Dice above 1": ({"metrics": {"dice": 1.5, "iou": 0.8}}, "is damaged: metrics.dice: Input should be less than"),
    "half a null": ({"run_id": None}, "run_id doesn't fit model_version 4: either all are null or none is"),
    "only a null": ({"model_version": None}, "run_id doesn't fit model_version null"),
    "another version": ({"model_version": 9}, "changed by hand: model_version and promoted_at name version 9"),
    "a better Dice": ({"metrics": {"dice": 0.99, "iou": 0.98}}, 'changed by hand: metrics is {"dice": 0.99'),
    "another count": ({"training_data_count": 3}, "changed by hand: training_data_count is 3, but 400 by"),
    "a text for a run": ({"github_run": "77"}, 'changed by hand: github_run is "77", but 77 by'),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_refused_by_file_and_field(ledger: Ledger, tmp_path: Path, case: str) -> None:
    change, words = DAMAGE[case]
    path = tmp_path / "file.json"
    entry = ledger.entries()[-1]
    text = metadata_of(entry).text
    path.write_text(change(text) if callable(change) else json.dumps(json.loads(text) | change), encoding="utf-8")
    with pytest.raises(ModelDamagedError, match=re.escape(words)) as caught:
        read_metadata(path, ledger)
    said = str(caught.value)
    assert said.startswith(f"{path} ") and "\n" not in said
    assert said.endswith("; restore it from Git, or write it anew with `wms versions metadata`.")
    assert write_metadata(entry, path)  # as the sentence says
    assert read_metadata(path, ledger) == metadata_of(entry)


@pytest.mark.parametrize("key", list(json.loads(NOTHING_PROMOTED))[:7])
def test_a_key_of_the_contract_cannot_be_missing(ledger: Ledger, tmp_path: Path, key: str) -> None:
    path = tmp_path / "file.json"
    values = json.loads(metadata_of(ledger.entries()[-1]).text)
    del values[key]
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ModelDamagedError, match=f"is damaged: {key}: Field required; "):
        read_metadata(path, ledger)


def test_a_later_versions_keys_are_kept_and_no_change_by_hand(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    entry = ledger.entries()[-1]
    later = json.loads(metadata_of(entry).text) | {"carbon_grams": 3}
    path.write_text(json.dumps(later, indent=2) + "\n", encoding="utf-8")
    found = read_metadata(path, ledger)
    assert found is not None and json.loads(found.text) == later
    assert not write_metadata(entry, path)
    path.write_text(json.dumps(later | {"format": 3}), encoding="utf-8")
    with pytest.raises(
        ModelDamagedError, match=r"newer version \(format 3, this one reads up to 2\); update this clone"
    ):
        read_metadata(path, ledger)


def test_a_pipe_in_its_place_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model-metadata.json")
    with pytest.raises(ModelDamagedError, match="it is a named pipe, not a file"):
        read_metadata(tmp_path / "model-metadata.json", Ledger(tmp_path))
