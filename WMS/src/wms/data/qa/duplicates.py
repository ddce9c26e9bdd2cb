"""Finds groups of photos that look alike, among 100,000 photos in seconds.

Two hashes of 256 bits that differ in at most 24 bits agree completely in at least one of 25 slices of ten bits each: 24
differences can't touch 25 slices. So only photos that share a slice are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint64]
Edge = tuple[int, int, int]
"""(One index, a larger index, distance in bits)."""

_HASH_BITS: Final = 256
_SMALLEST_SLICE: Final = 6  # bits; a slice with fewer values sorts out too little to be worth it
_BLOCK: Final = 256  # rows compared at once: bounds the memory


@dataclass(frozen=True, slots=True)
class Alike:
    """Sorted indices of photos that each resemble at least one other photo; the smallest distance in bits."""

    members: tuple[int, ...]
    distance: int


def groups(looks: Sequence[str], limit: int) -> list[Alike]:
    """Groups of two photos or more, joined by distances up to `limit` bits of 256, in the order of the first.

    `looks` are perceptual hashes of 64 hexadecimal digits each.
    """
    # Equal hashes are grouped first: a thousand copies of a photo would make half a million pairs.
    same: dict[str, list[int]] = {}
    for index, look in enumerate(looks):
        same.setdefault(look, []).append(index)
    distinct = list(same)
    parent = list(range(len(distinct)))
    nearest = {index: 0 for index, look in enumerate(distinct) if len(same[look]) > 1}

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for one, other, distance in edges(to_bits(distinct), limit):
        for index in (one, other):
            nearest[index] = min(nearest.get(index, distance), distance)
        parent[root(other)] = root(one)
    found: dict[int, list[int]] = {}
    for index in nearest:
        found.setdefault(root(index), []).append(index)
    result = [
        Alike(tuple(sorted(i for index in group for i in same[distinct[index]])), min(nearest[i] for i in group))
        for group in found.values()
    ]
    return sorted(result, key=lambda alike: alike.members)


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
        keys = (
            columns[:, first : first + width] @ weights if width <= 62 else _compact(columns[:, first : first + width])
        )
        order = np.argsort(keys, kind="stable")
        cuts = np.flatnonzero(np.diff(keys[order])) + 1
        for members in np.split(order, cuts):
            if len(members) > 1:
                yield from _compare(bits, members, limit)


def _compact(columns: NDArray[np.uint8]) -> NDArray[np.int64]:
    """A number for each distinct row, for slices that don't fit into 64 bits."""
    return np.unique(columns, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _compare(bits: Bits, members: NDArray[np.int64], limit: int) -> Iterator[Edge]:
    """All pairs among `members` (ascending rows of `bits`) at most `limit` apart."""
    chosen = bits[members]
    for start in range(0, len(members), _BLOCK):
        block = chosen[start : start + _BLOCK, None, :]
        distances = np.bitwise_count(block ^ chosen[None, start:, :]).sum(axis=2, dtype=np.int64)
        ones, others = np.nonzero(distances <= limit)
        later = ones < others
        for one, other in zip(ones[later].tolist(), others[later].tolist(), strict=True):
            yield int(members[start + one]), int(members[start + other]), int(distances[one, other])


def to_bits(looks: Sequence[str]) -> Bits:
    """Perceptual hashes (64 hexadecimal digits each) as (N, 4) uint64."""
    raw = b"".join(bytes.fromhex(look) for look in looks)
    return np.frombuffer(raw, dtype=">u8").astype(np.uint64).reshape(-1, 4)
