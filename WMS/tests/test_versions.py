"""Data versions: one record a run, one manifest a version, and the way back from an image."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wms
from wms.data.versions import DataItem, DataVersionManager, VersionDiff, data_version
from wms.data.versions_cli import DIFF, HISTORY, USES
from wms.errors import TrackingError, run_main
from wms.files import sha256_file, sha256_text

RECORDS = 50
FLIP = {"flip": True, "degrees": 5}


def _item(stem: str, split: str = "train", *, image: str | None = None, mask: str = "mask") -> DataItem:
    return DataItem(stem, sha256_text(image or stem), sha256_text(f"{mask} of {stem}"), split)


ITEMS = [_item("a"), _item("b"), _item("c", "val"), _item("d [x]", "test")]


@pytest.fixture
def manager(tmp_path: Path) -> DataVersionManager:
    return DataVersionManager(tmp_path / "runs")


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
items = st.builds(
    DataItem, texts, texts.map(sha256_text), texts.map(sha256_text), st.sampled_from(["train", "val", "test"])
)


@settings(max_examples=50, deadline=None)
@given(st.lists(items, max_size=20).flatmap(lambda some: st.tuples(st.just(some), st.permutations(some))))
def test_data_version_ignores_order(pair: tuple[list[DataItem], list[DataItem]]) -> None:
    assert data_version(pair[0]) == data_version(pair[1])


def test_data_version_depends_on_every_field() -> None:
    other = sha256_text("other")
    changed = [
        replace(ITEMS[0], stem="z"),
        replace(ITEMS[0], image_sha256=other),
        replace(ITEMS[0], mask_sha256=other),
        replace(ITEMS[0], split="val"),
    ]
    assert len({data_version([first, *ITEMS[1:]]) for first in (ITEMS[0], *changed)}) == 5
    # Stems and splits must not run into each other.
    assert data_version([_item("a", "btrain", image="i")]) != data_version([_item("ab", "train", image="i")])


def test_an_item_needs_real_hashes() -> None:
    with pytest.raises(TrackingError, match="not a SHA-256"):
        DataItem("a", "images/a.png", sha256_text("mask"), "train")


def test_record_and_get(manager: DataVersionManager) -> None:
    recorded = manager.record("run-1", ITEMS, FLIP, "c0ffee")
    assert manager.get("run-1") == recorded
    assert recorded.counts == {"test": 1, "train": 2, "val": 1}
    assert recorded.augmentation == FLIP
    assert recorded.recorded_at.endswith("+00:00")
    assert sha256_file(manager.folder / recorded.manifest) == recorded.data_version == data_version(ITEMS)
    with pytest.raises(TrackingError, match="No data version is recorded for run 'run-2'"):
        manager.get("run-2")


def test_runs_on_the_same_data_share_one_manifest(manager: DataVersionManager) -> None:
    for number in range(5):
        manager.record(f"run-{number}", ITEMS[::-1] if number % 2 else ITEMS, FLIP, None)
    assert len(list((manager.folder / "manifests").iterdir())) == 1


def test_recording_again_is_idempotent(manager: DataVersionManager) -> None:
    first = manager.record("run", ITEMS, {"size": (3, 4)}, "one")
    assert manager.record("run", ITEMS[::-1], {"size": [3, 4]}, "two") == first
    assert manager.history().height == 1


def test_a_run_keeps_its_data(manager: DataVersionManager) -> None:
    manager.record("run", ITEMS, FLIP, None)
    with pytest.raises(TrackingError, match="'run' is on record with data_version"):
        manager.record("run", ITEMS[:2], FLIP, None)
    with pytest.raises(TrackingError, match="'run' is on record with augmentation_hash"):
        manager.record("run", ITEMS, {}, None)
    assert len(list((manager.folder / "manifests").iterdir())) == 1


def test_two_images_of_one_stem_are_refused(manager: DataVersionManager) -> None:
    with pytest.raises(TrackingError, match="2 images claim the stem 'a'"):
        manager.record("run", [*ITEMS, _item("a", "val", image="another")], FLIP, None)
    assert not manager.folder.exists()


def test_runs_using_finds_by_stem_hash_and_prefix(manager: DataVersionManager) -> None:
    manager.record("run-1", ITEMS, FLIP, None)
    manager.record("run-2", ITEMS[1:], FLIP, None)
    manager.record("run-3", [_item("a", "val"), *ITEMS[1:]], FLIP, None)
    digest = ITEMS[0].image_sha256
    for image in ("a", digest, digest[:8]):
        uses = manager.runs_using(image)
        assert [(use.run_name, use.split) for use in uses] == [("run-1", "train"), ("run-3", "val")]
    assert [use.run_name for use in manager.runs_using("d [x]")] == ["run-1", "run-2", "run-3"]
    assert manager.runs_using(digest[:7]) == []
    assert manager.runs_using(ITEMS[0].mask_sha256) == []


def test_an_ambiguous_prefix_is_refused_and_a_stem_wins(manager: DataVersionManager) -> None:
    mask = sha256_text("mask")
    twins = [DataItem("one", "0" * 60 + "aaaa", mask, "train"), DataItem("two", "0" * 64, mask, "train")]
    manager.record("run", twins, {}, None)
    with pytest.raises(TrackingError, match="fits 2 images"):
        manager.runs_using("0" * 10)
    assert [use.stem for use in manager.runs_using("0" * 64)] == ["two"]
    manager.record("later", [*twins, _item("0" * 10)], {}, None)
    assert [use.run_name for use in manager.runs_using("0" * 10)] == ["later"]


def test_history_has_a_row_a_run_and_a_column_a_split(manager: DataVersionManager) -> None:
    assert manager.history().is_empty()
    manager.record("run-1", ITEMS[:2], FLIP, "c0ffee")
    manager.record("run-2", ITEMS, {}, None)
    history = manager.history()
    assert history["run_name"].to_list() == ["run-1", "run-2"]
    assert history["images"].to_list() == [2, 4]
    assert history["images_val"].to_list() == [0, 1]
    assert history["augmentation"].to_list() == ['{"degrees":5,"flip":true}', "{}"]
    assert history["git_commit"].to_list() == ["c0ffee", None]
    assert history.schema["recorded_at"] == polars.Datetime("us", "UTC")


def test_diff_names_every_kind_of_change(manager: DataVersionManager) -> None:
    before = manager.record("before", ITEMS, {}, None).data_version
    changed = [_item("b", "val", mask="better"), _item("c", "val", image="again"), ITEMS[3], _item("e")]
    after = manager.record("after", changed, {}, None).data_version
    expected = VersionDiff(added=("e",), removed=("a",), changed_mask=("b",), moved_split=("b",), changed_image=("c",))
    assert manager.diff(before, after) == manager.diff("before", after[:8]) == expected
    assert manager.diff("after", "after") == VersionDiff((), (), (), ())
    with pytest.raises(TrackingError, match="neither a run nor a data version"):
        manager.diff("before", "nothing")


def test_a_torn_last_line_is_cut_off_and_recorded_again(manager: DataVersionManager) -> None:
    manager.record("run-1", ITEMS, FLIP, None)
    manager.record("run-2", ITEMS, FLIP, None)
    content = manager.log.read_bytes()
    manager.log.write_bytes(content[:-30])
    assert manager.history()["run_name"].to_list() == ["run-1"]
    manager.record("run-2", ITEMS, FLIP, None)
    assert manager.history()["run_name"].to_list() == ["run-1", "run-2"]


@pytest.mark.parametrize("damage", [b"nonsense", b'{"run_name":"run-1"}', b"[]"])
def test_a_damaged_middle_line_is_named(manager: DataVersionManager, damage: bytes) -> None:
    for number in range(3):
        manager.record(f"run-{number}", ITEMS, FLIP, None)
    lines = manager.log.read_bytes().splitlines()
    manager.log.write_bytes(b"\n".join([lines[0], damage, lines[2], b""]))
    for act in (manager.history, lambda: manager.record("run-4", ITEMS, FLIP, None)):
        with pytest.raises(TrackingError, match=r"data_versions\.jsonl, line 2 is damaged"):
            act()


@pytest.mark.parametrize("damage", [b'"run-1', b'"augmentation":{"flip":'])
def test_a_line_that_no_table_holds_is_named(manager: DataVersionManager, damage: bytes) -> None:
    manager.record("run-1", ITEMS, {"flip": True}, None)
    impossible = {b'"run-1': b'"\\ud800run-1', b'"augmentation":{"flip":': b'"augmentation":{"a":NaN,"flip":'}[damage]
    content = manager.log.read_bytes()
    assert damage in content
    manager.log.write_bytes(content.replace(damage, impossible) + content)
    with pytest.raises(TrackingError, match=r"data_versions\.jsonl, line 1 is damaged"):
        manager.history()


def test_a_damaged_manifest_is_noticed_and_repaired_by_recording(manager: DataVersionManager) -> None:
    manifest = manager.folder / manager.record("run-1", ITEMS, FLIP, None).manifest
    manifest.write_bytes(manifest.read_bytes().replace(b"train", b"valid"))
    with pytest.raises(TrackingError, match="is damaged"):
        manager.runs_using("a")
    manager.record("run-2", ITEMS, FLIP, None)
    assert len(manager.runs_using("a")) == 2
    manifest.unlink()
    with pytest.raises(TrackingError, match="Can't read"):
        manager.diff("run-1", "run-2")


def _record_many(folder: Path, writer: int) -> None:
    manager = DataVersionManager(folder)
    for number in range(RECORDS):
        manager.record(f"run-{writer}-{number}", [_item(str(number % 3))], FLIP, None)


def test_two_processes_record_without_losing_a_line(manager: DataVersionManager) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_record_many, args=(manager.folder, writer)) for writer in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(manager.log.read_bytes().splitlines()) == 2 * RECORDS
    assert manager.history()["run_name"].n_unique() == 2 * RECORDS
    assert len(list((manager.folder / "manifests").iterdir())) == 3


def test_the_command_line_answers(manager: DataVersionManager, capsys: pytest.CaptureFixture[str]) -> None:
    manager.folder.mkdir()
    folder = ["--folder", str(manager.folder)]
    assert HISTORY(folder) == 0
    assert "No run is recorded" in capsys.readouterr().out
    assert not any(manager.folder.iterdir())
    manager.record("one", ITEMS, FLIP, None)
    manager.record("two", ITEMS[:3], FLIP, "c0ffee")
    assert USES([*folder, "d [x]"]) == 0
    assert "d [x]" in capsys.readouterr().out
    assert USES([*folder, "nobody"]) == 0
    assert "No run recorded" in capsys.readouterr().out
    assert DIFF([*folder, "one", "two"]) == 0
    assert "removed" in capsys.readouterr().out
    assert DIFF([*folder, "one", "one"]) == 0
    assert "same images" in capsys.readouterr().out
    assert run_main(DIFF, [*folder, "one", "three"]) == TrackingError.exit_code
    assert "'three' is neither" in capsys.readouterr().err


def test_the_command_runs_as_a_program_without_torch(manager: DataVersionManager) -> None:
    manager.record("one", ITEMS, FLIP, None)
    library = Path(wms.__file__).parents[1]
    command = [sys.executable, "-X", "importtime", "-m", "wms_ops", "data", "history", "--folder", str(manager.folder)]
    paths = f"{library}:{library.parents[1] / 'devops' / 'src'}"
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONPATH": paths})
    assert "one" in done.stdout
    assert "torch" not in done.stderr
