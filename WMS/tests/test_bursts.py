"""Bursts: all shots of a scene share a split, no split stays empty, and the join of two records looks again."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from wms.data.split_join import join_records
from wms.data.splits import Assignment, Split, SplitRecord, assign, record_line, refuse_empty
from wms.errors import SplitError

LIMIT = 24


def sha(key: object) -> str:
    return hashlib.sha256(f"photo {key}".encode()).hexdigest()


def shot(scene: object, number: int) -> str:
    """The look of a scene's shot: a few bits from the scene's others."""
    return f"{int(hashlib.sha256(f'scene {scene}'.encode()).hexdigest(), 16) ^ (1 << number):064x}"


def bursts(*sizes: int, salt: int = 0) -> dict[str, str]:
    return {sha((salt, at, n)): shot((salt, at), n) for at, size in enumerate(sizes) for n in range(size)}


def entry(key: object, scene: object, split: Split, number: int = 0) -> Assignment:
    return Assignment(sha(key), shot(scene, number), split)


@pytest.mark.parametrize("salt", range(20))
@pytest.mark.parametrize("sizes", [(10, 10, 10), (18, 1, 1), (2, 2, 2), (10, 10, 5, 5), (30, 3, 2), (1,) * 6, (4,) * 9])
def test_no_split_is_empty_where_three_scenes_exist(sizes: tuple[int, ...], salt: int) -> None:
    looks = bursts(*sizes, salt=salt)
    added = assign((), looks, near_duplicate_bits=LIMIT)
    assert {one.split for one in added} == {"train", "val", "test"}
    refuse_empty(added, near_duplicate_bits=LIMIT)
    for at, size in enumerate(sizes):
        splits = {one.split for one in added if one.look in {shot((salt, at), n) for n in range(size)}}
        assert len(splits) == 1, "a burst stays together"


@pytest.mark.parametrize("salt", range(5))
@pytest.mark.parametrize("sizes", [(10, 10), (6,), (19, 1)])
def test_two_bursts_are_refused_and_nothing_is_recorded(tmp_path: Path, sizes: tuple[int, ...], salt: int) -> None:
    path, looks = tmp_path / "splits.jsonl", bursts(*sizes, salt=salt)
    images = {name: Path(name) for name in looks}
    with pytest.raises(SplitError, match=r"all shots of a scene share a split.*nothing was recorded") as raised:
        SplitRecord(path).update(images, lambda file: looks[file.name], near_duplicate_bits=LIMIT)
    shots = ", ".join(str(size) for size in sizes)
    assert f"({shots} shots)" in str(raised.value)
    assert f"{sum(sizes)} photos of {len(sizes)} scene" in str(raised.value)
    assert not path.exists()
    # A third scene is all that it takes, and two bursts beside recorded splits are fine.
    more = looks | bursts(*sizes, 1, salt=salt)
    if len(sizes) == 2:
        record = SplitRecord(path)
        found = record.update({name: Path(name) for name in more}, lambda f: more[f.name], near_duplicate_bits=LIMIT)
        assert set(found.values()) == {"train", "val", "test"}


def test_two_new_bursts_leave_recorded_photos_where_they_are() -> None:
    before = [entry(n, n, split) for n, split in enumerate(("train", "train", "train", "train", "val", "test"))]
    added = assign(before, bursts(10, 10), near_duplicate_bits=LIMIT)
    assert not {one.sha256 for one in added} & {one.sha256 for one in before}
    refuse_empty([*before, *added], near_duplicate_bits=LIMIT)


def test_a_join_moves_no_kept_photo_and_leaves_no_scene_in_two_splits() -> None:
    kept = (entry("a", 1, "train"), entry("b", 2, "test"), entry("c", 3, "val"), entry("gone", 9, "excluded"))
    joined = (
        entry("d", 1, "test", 1),  # as a of main, which trains
        entry("e", 1, "test", 2),
        entry("f", 4, "test"),  # of the branch alone
        entry("g", 5, "train"),
        entry("h", 5, "val", 1),  # two splits in the branch itself
        entry("i", 9, "train", 1),  # as an excluded photo only
        entry("a", 1, "train"),  # of both
    )
    found = join_records(kept, joined, near_duplicate_bits=LIMIT)
    assert {one.sha256: one.split for one in found} == {
        sha("d"): "train",
        sha("e"): "train",
        sha("f"): "test",
        sha("g"): "excluded",
        sha("h"): "excluded",
        sha("i"): "train",
    }
    assert join_records(kept, found, near_duplicate_bits=LIMIT) == found, "a second join changes nothing"
    assert join_records((), kept, near_duplicate_bits=LIMIT) == kept


def test_a_photo_between_two_kept_ones_is_excluded() -> None:
    first, second = shot(1, 0), f"{int(shot(1, 0), 16) ^ (2**40 - 1):064x}"
    between = Assignment(sha("x"), f"{int(first, 16) ^ (2**20 - 1):064x}", "val")
    kept = (Assignment(sha("a"), first, "train"), Assignment(sha("b"), second, "test"))
    assert [one.split for one in join_records(kept, [between], near_duplicate_bits=LIMIT)] == ["excluded"]


def test_a_line_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "splits.jsonl"
    entries = (entry(1, 1, "train"), Assignment(sha(2), shot(2, 0) + "A" * 384, "test"))
    path.write_text("".join(record_line(one) + "\n" for one in entries))
    assert SplitRecord(path).entries == entries
    assert Counter("sketch" in line for line in path.read_text().splitlines()) == {False: 1, True: 1}
