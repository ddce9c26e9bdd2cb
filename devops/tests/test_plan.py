"""The merge plan: nothing is ever lost, whatever is merged, in whatever order."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wms.data.manifest import EMPTY, DataSet, Manifest, Pointer, pointer_text
from wms.errors import ManifestError
from wms_ops.base.errors import DataConflictError, ShrinkError
from wms_ops.dataset.plan import (
    MergePlan,
    NewFile,
    NewPair,
    join,
    plan_merge,
    plan_removal,
    refuse_conflicts,
    refuse_shrinking,
)


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def pair(stem: str, photo: str | None = None, mask: str | None = None, suffix: str = ".jpg") -> NewPair:
    """A pair whose contents are named; by default they're the stem's own."""
    return NewPair(
        NewFile(stem + suffix, md5(f"photo {photo or stem}"), 10),
        NewFile(stem + ".png", md5(f"mask {mask or photo or stem}"), 3),
    )


def version(*pairs: NewPair) -> DataSet:
    plan = plan_merge(DataSet(), pairs)
    assert not plan.conflicts
    return plan.result


def merge(base: DataSet, *pairs: NewPair, replace: bool = False) -> MergePlan:
    return plan_merge(base, pairs, replace=replace)


def test_new_pairs_join_the_old_ones() -> None:
    plan = merge(version(pair("a"), pair("b")), pair("c"), pair("a"))
    assert (plan.added, plan.present, plan.replaced, plan.conflicts) == (("c",), ("a",), (), ())
    assert plan.result == version(pair("a"), pair("b"), pair("c"))
    assert plan.summary == "Existing: 2, new: 1, total: 3"
    assert plan.result.image_bytes == 30
    assert plan.result.mask_bytes == 9


def test_manifests_are_those_that_dvc_writes() -> None:
    from dvc_data.hashfile.tree import Tree

    images = version(pair("b"), pair("ü"), pair("a b")).images
    tree = Tree.from_list(json.loads(images.content))
    tree.digest()
    assert tree.as_bytes() == images.content
    assert tree.oid == images.oid
    assert Manifest.parse(images.content) == images


def test_pointer_survives_a_round_trip() -> None:
    images = version(pair("a"), pair("b")).images
    assert Pointer.parse(pointer_text(images, 20, "images"), "x.dvc") == Pointer(images.oid, 20, 2)
    assert Pointer.parse(pointer_text(images, None, "images"), "x.dvc") == Pointer(images.oid, None, 2)


@pytest.mark.parametrize(
    "text", ["", "outs: []", "outs: 3", "<<<<<<< HEAD\nouts:\n- md5: x\n", "outs:\n- md5: abc\n  path: images\n", "- 1"]
)
def test_a_damaged_pointer_is_one_sentence(text: str) -> None:
    with pytest.raises(ManifestError, match=r"x\.dvc.*(run|;)"):
        Pointer.parse(text, "x.dvc")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}x",
        b"[1]",
        b'[{"md5": "1", "relpath": "a"}]',
        b'[{"relpath": "a"}]',
        json.dumps([{"md5": md5(""), "relpath": "a"}] * 2).encode(),
        json.dumps([{"md5": md5(""), "relpath": "../a"}]).encode(),
        json.dumps([{"md5": md5(""), "relpath": "/a"}]).encode(),
    ],
)
def test_a_damaged_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(ManifestError):
        Manifest.parse(content)


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        (pair("a", photo="other"), "another photo"),
        (pair("a", mask="other"), "another mask"),
        (pair("a", photo="other", suffix=".png"), "another photo"),
        (pair("A", photo="other"), "upper and lower case"),
        (pair("z", photo="a"), "the same photo is there as 'a'"),
    ],
)
def test_conflicts_are_named_and_nothing_changes(new: NewPair, reason: str) -> None:
    base = version(pair("a"), pair("b"))
    plan = merge(base, new)
    assert plan.result == base
    assert [reason in conflict.reason for conflict in plan.conflicts] == [True]
    with pytest.raises(DataConflictError, match=reason):
        refuse_conflicts(plan.conflicts)


def test_a_replacement_needs_the_word() -> None:
    base = version(pair("a"), pair("b"))
    plan = merge(base, pair("a", photo="new", suffix=".png"), replace=True)
    assert plan.replaced == ("a",)
    assert set(plan.result.images.files) == {"a.png", "b.jpg"}
    assert plan.result.image_bytes is None
    assert not merge(base, pair("z", photo="a"), replace=True).replaced


def test_new_pairs_that_contradict_each_other() -> None:
    plan = merge(DataSet(), pair("a"), pair("a", photo="b"), pair("A", photo="c"))
    assert len(plan.added) == 1
    assert len(plan.conflicts) == 2


def test_only_a_removal_shrinks() -> None:
    base = version(pair("a"), pair("b"))
    smaller = plan_removal(base, ["a"])
    assert set(smaller.pairs) == {"b"}
    with pytest.raises(ShrinkError, match="'a'"):
        refuse_shrinking(base, smaller)
    with pytest.raises(DataConflictError, match="'q'"):
        plan_removal(base, ["a", "q"])


def test_a_set_that_contradicts_itself_is_refused() -> None:
    images = Manifest({"a.jpg": md5("1"), "a.png": md5("2")})
    with pytest.raises(ManifestError, match="claim the name"):
        merge(DataSet(images, EMPTY), pair("c"))
    with pytest.raises(ManifestError, match="partner"):
        merge(DataSet(Manifest({"a.jpg": md5("1")}), EMPTY), pair("c"))


def test_joining_keeps_a_removal_and_names_what_both_changed() -> None:
    base = version(pair("a"), pair("b"), pair("c"))
    removed = plan_removal(base, ["a"])
    grown = merge(base, pair("d")).result
    joined, conflicts = join(base, removed, grown)
    assert set(joined.pairs) == {"b", "c", "d"}
    assert not conflicts
    mine = merge(base, pair("b", photo="1"), replace=True).result
    other = merge(base, pair("b", photo="2"), replace=True).result
    _, conflicts = join(base, mine, other)
    assert [conflict.stem for conflict in conflicts] == ["b"]
    _, conflicts = join(base, plan_removal(base, ["b"]), other)
    assert [conflict.stem for conflict in conflicts] == ["b"]


def test_joining_sees_twins_that_neither_side_could_see() -> None:
    base = version(pair("a"))
    left, right = merge(base, pair("b")).result, merge(base, pair("c", photo="b")).result
    _, conflicts = join(base, left, right)
    assert [conflict.reason for conflict in conflicts] == ["the same photo is there as 'b'; remove one"]
    left, right = merge(base, pair("b")).result, merge(base, pair("B", photo="z")).result
    assert len(join(base, left, right)[1]) == 1


STEMS = st.sampled_from([f"id {number}" for number in range(12)])
PAIRS = st.lists(STEMS, unique=True).map(lambda stems: tuple(pair(stem) for stem in stems))


@given(PAIRS, PAIRS)
def test_a_merge_is_the_union_and_merging_again_changes_nothing(old: tuple[NewPair, ...], new: tuple[NewPair, ...]):
    base = version(*old)
    plan = merge(base, *new)
    assert set(plan.result.pairs) == {p.stem for p in (*old, *new)}
    assert dict(base.images.files).items() <= dict(plan.result.images.files).items()
    assert set(plan.added).isdisjoint(plan.present)
    again = merge(plan.result, *new)
    assert again.result == plan.result
    assert not again.added


@given(st.lists(PAIRS, min_size=1, max_size=5), PAIRS, st.randoms())
def test_branches_joined_in_any_order_end_in_the_exact_union(
    branches: list[tuple[NewPair, ...]], old: tuple[NewPair, ...], random
):
    base = version(*old)
    tips = [merge(base, *branch).result for branch in branches]
    random.shuffle(tips)
    main = base
    for tip in tips:
        main, conflicts = join(base, main, tip)
        assert not conflicts
    union = version(*{*old, *(p for branch in branches for p in branch)})
    assert (main.images, main.masks) == (union.images, union.masks)
    assert main.image_bytes in (None, union.image_bytes)


VARIANTS = st.lists(st.tuples(STEMS, st.sampled_from("xyz")), max_size=8).map(
    lambda rows: tuple(pair(stem, photo=stem + kind) for stem, kind in rows)
)


@given(VARIANTS, VARIANTS, st.booleans())
def test_whatever_is_merged_no_stem_is_lost(old: tuple[NewPair, ...], new: tuple[NewPair, ...], replace: bool):
    base = plan_merge(DataSet(), old).result
    plan = plan_merge(base, new, replace=replace)
    assert base.pairs.keys() <= plan.result.pairs.keys()
    assert {*plan.added, *plan.replaced, *plan.present, *(c.stem for c in plan.conflicts)} == {p.stem for p in new}
    if not replace:
        assert base.pairs.items() <= plan.result.pairs.items()
    joined, conflicts = join(DataSet(), base, plan.result)
    assert joined.pairs.keys() | {c.stem for c in conflicts} >= plan.result.pairs.keys()
