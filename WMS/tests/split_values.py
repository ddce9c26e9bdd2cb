"""Images for tests of the splits: their hashes, looks and sketches."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from wms.data.splits import Assignment, assign

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
