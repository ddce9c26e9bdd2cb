"""The verdict is a pure function of facts: the same facts in any order, without any file, give one report."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wms.config import DataConfig
from wms.data.alike import groups
from wms.data.qa.facts import FolderFacts, ImageFacts, Listing, MaskFacts, PairFacts, Unreadable, from_plain, to_plain
from wms.data.qa.verdict import judge, report

LOOKS = st.integers(0, 2**256 - 1)


def image(look: int = 0, **fields) -> ImageFacts:
    values = {"width": 800, "height": 600, "orientation": 1, "brightness": 90.0, "glare": 0.0, "sharpness": 30.0}
    return ImageFacts(**{**values, "look": f"{look:064x}", **fields})


def mask(**fields) -> MaskFacts:
    values = {"width": 800, "height": 600, "orientation": 1, "neither": 0.0, "grey": 0.0, "coverage": 0.02}
    return MaskFacts(**{**values, "pieces": 1, **fields})


def data_set(images: list[ImageFacts | Unreadable], masks: list[MaskFacts | Unreadable]) -> FolderFacts:
    """Pairs a0, a1, ... with contents i0, m0, i1, m1, ..."""
    count = len(images)
    hashes = {f"images/a{n}.jpg": f"i{n}" for n in range(count)} | {f"masks/a{n}.png": f"m{n}" for n in range(count)}
    return FolderFacts(
        images=Listing(tuple(sorted(f"a{n}.jpg" for n in range(count)))),
        masks=Listing(tuple(sorted(f"a{n}.png" for n in range(count)))),
        hashes=hashes,
        image_facts={f"i{n}": fact for n, fact in enumerate(images)},
        mask_facts={f"m{n}": fact for n, fact in enumerate(masks)},
        pair_facts={f"i{n}:m{n}": PairFacts(10.0) for n in range(count)},
    )


def verdict(facts: FolderFacts, **options) -> dict:
    return report(facts, judge(facts, folder="set", config=DataConfig(), **options), folder="set")


def looks_of(seed: int, count: int) -> list[int]:
    """Looks far apart."""
    return [
        int.from_bytes(bytes(((n + 1) * 37 * (byte + seed) ** 2) % 256 for byte in range(32))) for n in range(count)
    ]


FACTS = st.one_of(
    st.builds(lambda w, b, s, g: image(width=w, brightness=b, sharpness=s, glare=g),
              st.integers(1, 4000), st.floats(0, 255), st.floats(0, 90), st.floats(0, 1)),
    st.just(Unreadable("damaged", "<file> is cut off; copy it again.")),
)  # fmt: skip
MASKS = st.one_of(
    st.builds(lambda c, n, g, a: mask(coverage=c, neither=n, grey=g, ambiguous=a),
              st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.booleans()),
    st.just(Unreadable("not-an-image", "<file> isn't an image; remove it.")),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(FACTS, MASKS), min_size=1, max_size=6))
def test_the_report_is_plain_and_agrees_with_itself(pairs):
    facts = data_set([one for one, _ in pairs], [other for _, other in pairs])
    found = verdict(facts)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["status"] == "FAIL") == bool(found["errors"])
    by_severity = {s: [p for p in found["problems"] if p["severity"] == s] for s in ("error", "warning", "note")}
    assert len(found["errors"]) == len(by_severity["error"])
    assert len(found["warnings"]) == len(by_severity["warning"])
    bad = {stem(file) for p in by_severity["error"] for file in p["files"]}
    assert found["valid_pairs"] == len(pairs) - len(bad)


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(5)))
def test_the_order_of_the_facts_changes_nothing(order):
    facts = data_set([image(7)] * 5, [mask()] * 5)
    names = list(facts.hashes)
    shuffled = {names[n + offset]: facts.hashes[names[n + offset]] for offset in (5, 0) for n in order}
    other = FolderFacts(facts.images, facts.masks, shuffled, {}, facts.image_facts, facts.mask_facts, facts.pair_facts)
    assert verdict(other) == verdict(facts)
    assert verdict(facts)["warnings"], "five photos of one look"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(LOOKS, min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 5), st.lists(st.integers(0, 255), max_size=40)), max_size=8),
    st.sampled_from([0, 1, 3, 24, 40, 100]),
)
def test_groups_are_those_of_comparing_all_with_all(bases, copies, limit):
    looks = list(bases)
    for base, flips in copies:
        look = bases[base % len(bases)]
        for bit in flips:
            look ^= 1 << bit
        looks.append(look)
    near = {
        pair
        for pair in itertools.combinations(range(len(looks)), 2)
        if (looks[pair[0]] ^ looks[pair[1]]).bit_count() <= limit
    }
    found = groups([f"{look:064x}" for look in looks], limit)
    together = {pair for group in found for pair in itertools.combinations(group.members, 2)}
    assert near <= together
    for group in found:
        distances = [(looks[a] ^ looks[b]).bit_count() for a, b in near if {a, b} <= set(group.members)]
        assert group.distance == min(distances)
        reached = {group.members[0]}
        for _ in group.members:
            reached |= {b for pair in near for b in pair if reached & set(pair)}
        assert reached == set(group.members), "every member resembles another one"


def test_a_near_duplicate_is_a_warning_within_a_split_and_an_error_across():
    facts = data_set([image(0), image(0b111), image(2**255 - 1)], [mask()] * 3)
    for splits, severity in (
        ({}, "warning"),
        ({"i0": "train", "i1": "train"}, "warning"),
        ({"i0": "train", "i2": "test"}, "warning"),
        ({"i0": "train", "i1": "test"}, "error"),
        ({"i0": "excluded", "i1": "test"}, None),
    ):
        found = verdict(facts, splits=splits)["problems"]
        assert [p["severity"] for p in found] == ([severity] if severity else []), splits
        assert all(p["files"] == ["images/a0.jpg", "images/a1.jpg"] for p in found)


def test_a_chain_of_likenesses_across_splits_is_found():
    facts = data_set([image(0), image(2**20 - 1), image(2**40 - 1)], [mask()] * 3)
    found = verdict(facts, splits={"i0": "train", "i1": "train", "i2": "test"})
    assert len(found["errors"]) == 1
    assert "test, train" in found["errors"][0]


@pytest.mark.parametrize("fact", [image(5), mask(), PairFacts(None), PairFacts(1.5), Unreadable("damaged", "x", False)])
def test_facts_survive_the_cache(fact):
    assert from_plain(json.loads(json.dumps(to_plain(fact)))) == fact


def test_a_set_with_its_own_usual_coverage_isnt_warned_about_it():
    wide = [mask(coverage=0.3 + n / 400) for n in range(40)]
    looks = looks_of(3, 40)
    assert not [w for w in verdict(data_set([image(n) for n in looks], wide))["warnings"] if "covers" in w]
    odd = [*wide[:-1], mask(coverage=0.0005)]
    assert len([w for w in verdict(data_set([image(n) for n in looks], odd))["warnings"] if "covers" in w]) == 1


def stem(file: str) -> str:
    return file.rpartition("/")[2].rpartition(".")[0]
