"""The file of the splits: appended once, read back, and named where it is damaged."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from split_values import LIMIT, drawn, look, sha

from wms.data.splits import Split, SplitRecord, hashed_split
from wms.errors import SplitError


def add(record: SplitRecord, keys: Iterable[int]) -> dict[str, Split]:
    return record.update(
        {sha(key): Path(str(key)) for key in keys}, lambda path: look(path.name), near_duplicate_bits=LIMIT
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A record of 30 images."""
    path = tmp_path / "data" / "splits.jsonl"
    add(SplitRecord(path), range(30))
    return path


def test_the_file_is_append_only_and_read_back(path: Path) -> None:
    before = path.read_bytes()
    record = SplitRecord(path)
    assert len(record) == 30
    splits = add(record, range(20, 90))
    after = path.read_bytes()
    assert after.startswith(before)
    assert len(after.splitlines()) == 90
    assert len(splits) == 70
    assert SplitRecord(path).entries == record.entries
    assert add(record, range(90)) == add(SplitRecord(path), range(90))
    assert path.read_bytes() == after


def test_recorded_images_arent_looked_at_again(path: Path) -> None:
    seen: list[str] = []

    def look_of(file: Path) -> str:
        seen.append(file.name)
        return look(file.name) + drawn(file.name)

    def update(size: int) -> dict[str, Split]:
        seen.clear()
        files = {sha(key): Path(str(key)) for key in range(size)}
        return SplitRecord(path).update(files, look_of, near_duplicate_bits=LIMIT)

    update(30)
    assert seen == [], "the record has all of them, so nothing is written"
    before, text = SplitRecord(path).entries, path.read_bytes()
    update(31)
    assert sorted(seen, key=int) == [str(key) for key in range(31)], "the older looks had no sketch"
    assert path.read_bytes().startswith(text)
    after = SplitRecord(path).entries
    assert [(one.sha256, one.look, one.split) for one in before] == [
        (one.sha256, one.look[:64], one.split) for one in after[:30]
    ]
    assert all(len(one.look) == 448 for one in after)
    update(32)
    assert seen == ["31"]


def test_two_runs_that_start_together_agree(path: Path) -> None:
    """Both read the empty record; the second one to write takes what the first one decided."""
    files = {sha(key): Path(str(key)) for key in range(40)}
    twins = {sha("a"): Path("a"), sha("b"): Path("b")}  # alike, but each is new to one run only
    first, second = SplitRecord(path), SplitRecord(path)
    one = first.update({**files, sha("a"): Path("a")}, look, near_duplicate_bits=LIMIT)
    other = second.update(
        {**files, sha("b"): Path("b")},
        lambda file: look("a" if file.name == "b" else file),
        near_duplicate_bits=LIMIT,
    )
    assert {key: one[key] for key in files} == {key: other[key] for key in files}
    assert other[sha("b")] == one[sha("a")]
    assert len(SplitRecord(path)) == len(files) + len(twins)


def test_an_absent_record_is_empty_and_isnt_created(tmp_path: Path) -> None:
    record = SplitRecord(tmp_path / "splits.jsonl")
    assert (len(record), record.entries, add(record, [])) == (0, (), {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("torn", [b'{"sha256": "12', b"{", b"\x00\x00\x00", b"\xff\xfe", b'{"sha\n'])
def test_a_torn_last_line_is_recovered(path: Path, torn: bytes) -> None:
    before = path.read_bytes()
    path.write_bytes(before + torn)
    record = SplitRecord(path)
    assert len(record) == 30
    assert path.read_bytes() == before + torn  # reading writes nothing
    add(record, range(31))
    assert path.read_bytes().startswith(before + b'{"sha256": ')
    assert len(SplitRecord(path)) == 31


def test_a_whole_last_line_without_newline_is_kept(path: Path) -> None:
    before = path.read_bytes()
    path.write_bytes(before.removesuffix(b"\n"))
    record = SplitRecord(path)
    assert len(record) == 30
    add(record, range(31))
    assert path.read_bytes().startswith(before)
    assert len(SplitRecord(path)) == 31


def test_windows_line_ends(path: Path) -> None:
    expected = SplitRecord(path).entries
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert SplitRecord(path).entries == expected


GOOD = {"sha256": sha(1), "look": look(1), "split": "train"}


@pytest.mark.parametrize(
    "line",
    [
        b"<<<<<<< HEAD",
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        json.dumps({**GOOD, "split": "holdout"}).encode(),
        json.dumps({**GOOD, "sha256": "12"}).encode(),
        json.dumps({**GOOD, "look": look(1)[:63]}).encode(),
        json.dumps({**GOOD, "look": "0x" + "1_1" * 20 + "22"}).encode(),
        json.dumps({**GOOD, "look": 7}).encode(),
        json.dumps({"sha256": sha(1)}).encode(),
        json.dumps({**GOOD, "sketch": drawn(1)[1:]}).encode(),
        json.dumps({**GOOD, "sketch": "!" + drawn(1)[1:]}).encode(),
        json.dumps({**GOOD, "sketch": 7}).encode(),
    ],
)
def test_a_damaged_line_is_named(path: Path, line: bytes) -> None:
    lines = path.read_bytes().splitlines()
    lines[6] = line
    path.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(SplitError, match=r"splits\.jsonl, line 7 isn't a split record"):
        SplitRecord(path)


def test_agreeing_duplicates_are_fine_and_conflicting_ones_are_named(path: Path) -> None:
    first = path.read_bytes().splitlines()[0]
    path.write_bytes(path.read_bytes() + first + b"\n")
    assert len(SplitRecord(path)) == 30
    entry = json.loads(first)
    entry["split"] = "val" if entry["split"] == "train" else "train"
    path.write_bytes(path.read_bytes() + json.dumps(entry).encode() + b"\n")
    with pytest.raises(SplitError, match=r"line 32: the image [0-9a-f]{12} is recorded as \w+ above"):
        SplitRecord(path)


def test_a_folder_in_the_records_place(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match="Can't read the split record"):
        SplitRecord(tmp_path)


def test_ten_new_images_beside_100_000(tmp_path: Path) -> None:
    path = tmp_path / "splits.jsonl"
    with path.open("w") as stream:
        for key in range(100_000):
            entry = {"sha256": sha(key), "look": look(key), "split": hashed_split(sha(key))}
            stream.write(json.dumps(entry) + "\n")
    started = time.monotonic()
    splits = add(SplitRecord(path), range(100_000, 100_010))
    print(f"10 new beside 100,000 recorded images: {time.monotonic() - started:.2f} s")
    assert splits == {name: hashed_split(name) for name in splits}
