"""Sketches laid over each other: the shots of a burst are found, other meters aren't. All seeds are fixed."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from wms.config import DataConfig
from wms.data.alike import LIKENESS, groups
from wms.data.looks import HASH_DIGITS, is_look, look_of, parts
from wms.data.overlay import SKETCH_DIGITS, matches, sketch
from wms.data.qa.alterations import ALTERATIONS, Photo
from wms.data.synthetic import draw_meter

METERS = 16


@cache
def photos() -> tuple[Photo, ...]:
    return tuple(np.asarray(draw_meter((17, seed), size=384).image) for seed in range(METERS))


@cache
def sketches() -> tuple[str, ...]:
    return tuple(sketch(photo) for photo in photos())


def test_a_look_is_a_hash_and_a_sketch(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(photos()[0]).save(tmp_path / "a.png")
    look = look_of(tmp_path / "a.png")
    assert is_look(look) and [len(part) for part in parts(look)] == [HASH_DIGITS, SKETCH_DIGITS] == [64, 384]
    assert is_look(look[:64]) and parts(look[:64]) == (look[:64], "")
    for wrong in (look[:-1], look + "A", look[:64] + "!" * 384, "g" + look[1:], None):
        assert not is_look(wrong)


@pytest.mark.parametrize("name", ALTERATIONS)
def test_each_alteration_is_caught(name: str) -> None:
    rng = np.random.default_rng(3)
    altered = [sketch(ALTERATIONS[name](photo, rng)) for photo in photos()]
    found = {(one, other) for one, other, _ in matches(altered, sketches(), LIKENESS)}
    assert sum(one == other for one, other in found) >= METERS - 1
    assert all(one == other for one, other in found)


def test_other_meters_arent_alike_and_each_pair_comes_once() -> None:
    assert list(matches(sketches(), sketches(), LIKENESS, same=True)) == []
    low = [(one, other) for one, other, _ in matches(sketches(), sketches(), 0.2, same=True)]
    assert low and len(set(low)) == len(low) and all(one < other for one, other in low)


def test_the_limit_lies_between() -> None:
    """A hash finds none of a burst; the sketch does, and one without a sketch is compared by its hash alone."""
    rng = np.random.default_rng(5)
    burst = [sketch(ALTERATIONS["burst"](photos()[0], rng)) for _ in range(4)]
    hashes = [f"{number:x}" * 64 for number in (1, 2, 4, 7, 8, 11)]
    looks = [one + drawn for one, drawn in zip(hashes, [*burst, *sketches()[:2]], strict=True)]
    limit = DataConfig().near_duplicate_bits
    assert [group.members for group in groups(looks, limit)] == [(0, 1, 2, 3, 4)]
    (asked,) = groups(looks, limit, asked=1)
    assert {0, 4} <= set(asked.members) <= {0, 1, 2, 3, 4}
    assert groups([look[:64] for look in looks], limit) == []
    assert groups(looks, limit, asked=0) == []


def test_pictures_without_any_detail_match_nothing_else() -> None:
    grey = sketch(np.full((200, 300, 3), 127, np.uint8))
    assert not list(matches([grey], sketches(), 0.1))
    assert list(matches([], sketches(), LIKENESS)) == list(matches([grey], [], LIKENESS)) == []
