"""Splits never move, hold enough for scoring, and don't leak near-duplicates."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from split_values import LIMIT, counts, flipped, grow, images, look, no_leak, sha

from wms.data.splits import Assignment, Split, assign, bucket, hashed_split

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
