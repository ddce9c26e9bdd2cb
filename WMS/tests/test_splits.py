"""Splits never move, hold enough for scoring, and don't leak near-duplicates."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wms.data.splits import Assignment, Split, SplitRecord, assign, bucket, hashed_split
from wms.errors import SplitError

LIMIT = 24


def sha(key: object) -> str:
    return hashlib.sha256(f"image {key}".encode()).hexdigest()


def look(key: object) -> str:
    """A look that is as far from all others as chance has it: about 128 bits."""
    return hashlib.sha256(f"look {key}".encode()).hexdigest()


def drawn(key: object) -> str:
    """A sketch of noise."""
    return base64.b64encode(hashlib.shake_256(f"sketch {key}".encode()).digest(288)).decode()


def flipped(text: str, bits: Iterable[int]) -> str:
    """`text` with some of its 256 bits flipped."""
    return f"{int(text, 16) ^ sum(1 << bit for bit in set(bits)):064x}"


def images(keys: Iterable[object]) -> dict[str, str]:
    return {sha(key): look(key) for key in keys}


def grow(*batches: Mapping[str, str], start: Sequence[Assignment] = ()) -> tuple[Assignment, ...]:
    """Add batches one after another, checking that each adds exactly what is new."""
    recorded = tuple(start)
    for batch in batches:
        added = assign(recorded, batch, near_duplicate_bits=LIMIT)
        assert {entry.sha256 for entry in added} == set(batch) - {entry.sha256 for entry in recorded}
        recorded += added
    return recorded


def counts(recorded: Iterable[Assignment]) -> Counter[str]:
    return Counter(entry.split for entry in recorded)


def no_leak(recorded: Sequence[Assignment]) -> bool:
    """Whether no two images within the limit lie in two different splits that are used."""
    return all(
        a.split == b.split or "excluded" in (a.split, b.split)
        for a, b in combinations(recorded, 2)
        if (int(a.look, 16) ^ int(b.look, 16)).bit_count() <= LIMIT
    )


# An image: its number, the family whose look it shares, and the bits by which it differs from it.
PHOTOS = st.tuples(st.integers(0, 400), st.integers(0, 25), st.sets(st.integers(0, 255), min_size=0, max_size=20))
BATCHES = st.lists(st.lists(PHOTOS, max_size=25), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(batches=BATCHES, seed=st.randoms(use_true_random=False))
def test_no_image_moves_or_leaks_and_order_doesnt_matter(
    batches: list[list[tuple[int, int, set[int]]]], seed: random.Random
) -> None:
    recorded: tuple[Assignment, ...] = ()
    for batch in batches:
        new = {sha(number): flipped(look(f"family {family}"), bits) for number, family, bits in batch}
        shuffled = list(new.items())
        seed.shuffle(shuffled)
        added = assign(recorded, new, near_duplicate_bits=LIMIT)
        assert added == assign(recorded, dict(shuffled), near_duplicate_bits=LIMIT)
        assert not {entry.sha256 for entry in added} & {entry.sha256 for entry in recorded}
        recorded += added
    assert no_leak(recorded)
    assert assign(recorded, {entry.sha256: entry.look for entry in recorded}, near_duplicate_bits=LIMIT) == ()


@settings(max_examples=30, deadline=None)
@given(first=st.sets(st.integers(100, 400), min_size=30), second=st.sets(st.integers(100, 400), min_size=30))
def test_two_branches_agree(first: set[int], second: set[int]) -> None:
    """From a base that has enough held out, an image's split is its hash's, whatever else was added."""
    base = grow(images(range(60)))
    ours, theirs = (
        {entry.sha256: entry.split for entry in grow(images(keys), start=base)[len(base) :]} for keys in (first, second)
    )
    for found in (ours, theirs):
        assert found == {name: hashed_split(name) for name in found}
    assert all(ours[name] == theirs[name] for name in ours.keys() & theirs.keys())


@pytest.mark.parametrize("salt", range(5))
def test_two_first_branches_move_images_out_of_training_only(salt: int) -> None:
    for half in (range(30), range(30, 65)):
        for entry in grow(images((salt, key) for key in half)):
            hashed = hashed_split(entry.sha256)
            assert hashed in (entry.split, "train")


@pytest.mark.parametrize("salt", range(20))
@pytest.mark.parametrize(("size", "least"), [(6, 1), (12, 2), (24, 4), (25, 4), (49, 4)])
def test_small_sets_hold_out_enough(size: int, least: int, salt: int) -> None:
    found = counts(grow(images((salt, key) for key in range(size))))
    assert min(found["val"], found["test"]) >= least
    assert sum(found.values()) == size


def test_shares_of_a_large_set() -> None:
    size = 1000
    found = counts(grow(images(range(size))))
    for split, share in {"train": 0.8, "val": 0.1, "test": 0.1}.items():
        assert abs(found[split] - share * size) < 3 * math.sqrt(size * share * (1 - share)), split


def test_growing_keeps_everything() -> None:
    recorded: tuple[Assignment, ...] = ()
    for size in (25, 49, 59, 360):
        grown = grow(images(range(size)), start=recorded)
        assert grown[: len(recorded)] == recorded
        assert len(grown) == size
        found = counts(grown)
        assert min(found["val"], found["test"]) >= 4
        assert found["train"] >= size / 2
        recorded = grown


def in_split(split: Split, count: int = 1) -> list[int]:
    """Numbers of images that their hash puts into `split`."""
    numbers = (number for number in range(10_000) if hashed_split(sha(number)) == split)
    return [next(numbers) for _ in range(count)]


@settings(max_examples=60, deadline=None)
@given(
    bits=st.sets(st.integers(0, 255), min_size=0, max_size=LIMIT),
    order=st.sampled_from(["after", "together", "before"]),
    number=st.integers(1000, 1200),
)
def test_near_duplicates_of_a_test_image_never_train(bits: set[int], order: str, number: int) -> None:
    (held_out,) = in_split("test")
    others = images(range(2000, 2040))
    original = {sha(held_out): look(held_out)}
    copy = {sha(number): flipped(look(held_out), bits)}
    batches = {
        "after": [original | others, copy],
        "together": [others | copy | original],
        "before": [others | copy, original],
    }[order]
    splits = {entry.sha256: entry.split for entry in grow(*batches)}
    assert splits[sha(number)] == splits[sha(held_out)]
    if order == "after":
        assert splits[sha(number)] == "test"


def test_just_beyond_the_limit_is_another_image() -> None:
    (held_out,) = in_split("test")
    (trained,) = in_split("train")
    new = {sha(trained): flipped(look(held_out), range(LIMIT + 1))}
    start = grow(images(in_split("test", 5) + in_split("val", 5)))
    assert grow(new, start=start)[-1].split == "train"


@pytest.mark.parametrize("chain", [False, True])
def test_resembling_two_splits_is_excluded(chain: bool) -> None:
    (held_out,), (trained,) = in_split("test"), in_split("train")
    between = flipped(look(held_out), range(40))  # 40 bits from the test image: another look
    start = (
        Assignment(sha(held_out), look(held_out), "test"),
        Assignment(sha(trained), between, "train"),
    )
    new = {sha("middle"): flipped(look(held_out), range(20))}
    if chain:  # near the one, near the other, and near each other
        new = {
            sha("left"): flipped(look(held_out), range(10)),
            sha("right"): flipped(look(held_out), range(30)),
        }
    added = grow(new, start=start)[2:]
    assert {entry.split for entry in added} == {"excluded"}
    # What resembles only an excluded image leaks nowhere and is used.
    later = flipped(new[min(new)], range(200, 220))
    assert grow({sha("later"): later}, start=start + added)[-1].split != "excluded"


@pytest.mark.parametrize("salt", range(10))
def test_a_burst_of_one_meter_doesnt_empty_the_training_split(salt: int) -> None:
    burst = {sha((salt, key)): flipped(look("burst"), [key]) for key in range(22)}
    found = counts(grow(burst | images(in_split("train", 3))))
    assert found["train"] >= 22


def test_groups_of_near_duplicates_are_shared_out_like_single_images() -> None:
    groups, size = 400, 4
    new = {sha((group, key)): flipped(look(group), [key]) for group in range(groups) for key in range(size)}
    found = counts(grow(new))
    for split, share in {"train": 0.8, "val": 0.1, "test": 0.1}.items():
        assert abs(found[split] / size - share * groups) < 3 * math.sqrt(groups * share * (1 - share)), split


@pytest.mark.parametrize("digits", ["0" * 64, "f" * 64, "8" + "0" * 63])
def test_bucket(digits: str) -> None:
    assert bucket(digits) == pytest.approx(int(digits, 16) / 16**64)
    assert 0 <= bucket(digits) < 1


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
