"""Finds groups of photos that look alike, among 100,000 photos in seconds.

Two looks (`wms.data.looks`) are alike if their hashes are a few bits apart, or if their sketches, laid over each other,
show the same: a crop, a shift, a small turn, a mirror image, another shot of a burst.

Two hashes of 256 bits that differ in at most 24 bits agree completely in at least one of 25 slices of ten bits each: 24
differences can't touch 25 slices. So only photos that share a slice are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wms.data.looks import HASH_DIGITS, parts
from wms.data.overlay import matches

Bits = NDArray[np.uint64]
Edge = tuple[int, int, int]
"""(One index, a larger index, distance in bits)."""

LIKENESS: Final = 0.9
"""Likeness of two sketches from which on they show one scene; docs/data-qa.md has what that catches and its price."""

_HASH_BITS: Final = 4 * HASH_DIGITS
_SMALLEST_SLICE: Final = 6  # bits; a slice with fewer values sorts out too little to be worth it
_BLOCK: Final = 256  # rows compared at once: bounds the memory


@dataclass(frozen=True, slots=True)
class Alike:
    """Sorted indices of photos that each resemble at least one other photo; the smallest distance in bits.

    A distance above the limit says that the sketches alone tell it.
    """

    members: tuple[int, ...]
    distance: int


def groups(looks: Sequence[str], limit: int, *, asked: int | None = None) -> list[Alike]:
    """Groups of two photos or more that are alike, by hashes up to `limit` bits of 256 apart or by sketches.

    They come in the order of the first. With `asked`, the sketches of the first `asked` looks only are compared, with
    those of all: the others are known, and may be 100,000.
    """
    # Equal looks are grouped first: a thousand copies of a photo would make half a million pairs.
    same: dict[str, list[int]] = {}
    for index, look in enumerate(looks):
        same.setdefault(look, []).append(index)
    distinct = list(same)
    nearest = {index: 0 for index, look in enumerate(distinct) if len(same[look]) > 1}
    first = len(set(looks[:asked]))
    bits = to_bits(distinct)
    near = list(edges(bits, limit))
    near += [(one, other, int(distances(bits[one], bits[other]))) for one, other in overlaid(distinct, first)]
    for one, other, distance in near:
        for index in (one, other):
            nearest[index] = min(nearest.get(index, distance), distance)
    joined = components(len(distinct), near)
    found: dict[int, list[int]] = {}
    for index in nearest:
        found.setdefault(joined[index], []).append(index)
    result = [
        Alike(tuple(sorted(i for index in group for i in same[distinct[index]])), min(nearest[i] for i in group))
        for group in found.values()
    ]
    return sorted(result, key=lambda alike: alike.members)


def overlaid(looks: Sequence[str], asked: int) -> Iterator[tuple[int, int]]:
    """Pairs (an index below `asked`, a larger index) whose sketches show one scene; looks without one have none."""
    known = [(index, drawn) for index, look in enumerate(looks) if (drawn := parts(look)[1])]
    first = sum(index < asked for index, _ in known)
    sketches = [drawn for _, drawn in known]
    for one, other, _ in matches(sketches[:first], sketches, LIKENESS, same=True):
        yield known[one][0], known[other][0]


def alike_ones(looks: Sequence[str], others: Sequence[str], limit: int) -> list[set[int]]:
    """For each look the indices of the `others` that are alike, by hash or by sketch."""
    many = to_bits(others)
    found = [set(np.flatnonzero(distances(one, many) <= limit).tolist()) for one in to_bits(looks)]
    for one, other in overlaid([*looks, *others], len(looks)):
        if other >= len(looks):
            found[one].add(other - len(looks))
    return found


def components(count: int, near: Sequence[Edge]) -> list[int]:
    """The number of each index's group, of `count` indices; edges join groups."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not near:
        return list(range(count))
    ones, others, _ = zip(*near, strict=True)
    joined = coo_array((np.ones(len(near)), (ones, others)), shape=(count, count))
    return [int(group) for group in connected_components(joined, directed=False)[1]]


def distances(one: Bits, many: Bits) -> NDArray[np.int64]:
    """Hamming distances in bits between (..., 4) and (..., 4), broadcast, without the last axis."""
    return np.asarray(np.bitwise_count(many ^ one).sum(axis=-1, dtype=np.int64))


def edges(bits: Bits, limit: int) -> Iterator[Edge]:
    """Pairs of rows of (N, 4) uint64 at most `limit` bits apart; a pair may come several times."""
    width = _HASH_BITS // (limit + 1)
    # A large limit leaves slices so short that most photos share one; then all pairs are compared.
    if width < _SMALLEST_SLICE:
        yield from _compare(bits, np.arange(len(bits)), limit)
        return
    columns = np.unpackbits(bits.astype(">u8").view(np.uint8).reshape(len(bits), 32), axis=1)
    for first in range(0, width * (limit + 1), width):
        weights = 1 << np.arange(width, dtype=np.int64)
        part = columns[:, first : first + width]
        # A slice that doesn't fit into 64 bits gets a number for each distinct row.
        keys = part @ weights if width <= 62 else np.unique(part, axis=0, return_inverse=True)[1].reshape(-1)
        order = np.argsort(keys, kind="stable")
        cuts = np.flatnonzero(np.diff(keys[order])) + 1
        for members in np.split(order, cuts):
            if len(members) > 1:
                yield from _compare(bits, members, limit)


def _compare(bits: Bits, members: NDArray[np.int64], limit: int) -> Iterator[Edge]:
    """All pairs among `members` (ascending rows of `bits`) at most `limit` apart."""
    chosen = bits[members]
    for start in range(0, len(members), _BLOCK):
        block = chosen[start : start + _BLOCK, None, :]
        found = distances(block, chosen[None, start:, :])
        ones, others = np.nonzero(found <= limit)
        later = ones < others
        for one, other in zip(ones[later].tolist(), others[later].tolist(), strict=True):
            yield int(members[start + one]), int(members[start + other]), int(found[one, other])


def to_bits(looks: Sequence[str]) -> Bits:
    """The hashes of looks as (N, 4) uint64."""
    raw = b"".join(bytes.fromhex(parts(look)[0]) for look in looks)
    return np.frombuffer(raw, dtype=">u8").astype(np.uint64).reshape(-1, 4)
