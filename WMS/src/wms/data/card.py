"""The data set's card: counts of photos by split, size and coverage, updated at each merge, never recounted.

A merge sees only the new files; the facts of the others come from the previous card in the remote. So the figures are
whole numbers that add up, and a card remembers the counted pairs: a repeated merge counts once, and two merges in any
order give the same card as a single merge of both. `wms.data.card_page` draws it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from wms.config import DataConfig
from wms.data.images import image_size
from wms.data.pairs import Pair, find_pairs, read_pair
from wms.errors import ManifestError
from wms.files import sha256_file
from wms.records import StoredRecord

COVERAGE_EDGES: Final = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0)
"""The inner edges of the coverage histogram's bins, in percent of the photo."""

MOST_PICTURES: Final = 24
_DIGEST_BYTES: Final = 8  # 100,000 names collide with a probability of 3e-10

Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class CardPair:
    """A new photo with a mask: the upright photo's sides in pixels, bytes of both files, masked share 0..1."""

    stem: str
    split: str
    width: int
    height: int
    image_bytes: int
    mask_bytes: int
    coverage: float


class Figures(StoredRecord, strict=True):
    """Totals over some pairs: sizes in bytes, `resolutions` as "width x height" -> photos.

    `coverage` counts the photos of each bin of COVERAGE_EDGES, `coverage_ppm` is the sum of all masked shares in
    parts per million: whole numbers add up the same in every order.
    """

    images: Count = 0
    splits: dict[str, Count] = Field(default_factory=dict)
    image_bytes: Count = 0
    mask_bytes: Count = 0
    resolutions: dict[str, Count] = Field(default_factory=dict)
    coverage: tuple[Count, ...] = Field(default=(0,) * (len(COVERAGE_EDGES) + 1), strict=False)
    coverage_ppm: Count = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        counts = (sum(self.splits.values()), sum(self.resolutions.values()), sum(self.coverage))
        if set(counts) != {self.images} or len(self.coverage) != len(COVERAGE_EDGES) + 1:
            raise ValueError(f"its parts count {counts} photos, its total {self.images}")
        return self

    @property
    def mean_coverage(self) -> float:
        """Mean masked share, 0..1; 0 for no photo."""
        return self.coverage_ppm / 1e6 / self.images if self.images else 0.0

    def __add__(self, other: Figures) -> Figures:
        return self.changed(
            images=self.images + other.images,
            splits=_add(self.splits, other.splits),
            image_bytes=self.image_bytes + other.image_bytes,
            mask_bytes=self.mask_bytes + other.mask_bytes,
            resolutions=_add(self.resolutions, other.resolutions),
            coverage=tuple(a + b for a, b in zip(self.coverage, other.coverage, strict=True)),
            coverage_ppm=self.coverage_ppm + other.coverage_ppm,
        )


class CardFacts(StoredRecord, strict=True):
    """The cumulative facts of a card: `total` over all counted pairs, `newest` over those of the last merge.

    `shown` are stems of the last merge for the page's pictures, at most MOST_PICTURES, chosen by hash. `counted` names
    all counted pairs: the first 8 bytes of each stem's sha256, sorted, in base64.
    """

    FORMAT_FIELD = "version"

    version: int = Field(default=1, ge=1)
    total: Figures = Figures()
    newest: Figures = Figures()
    shown: tuple[str, ...] = Field(default=(), strict=False)
    counted: str = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        try:
            raw = base64.b64decode(self.counted, validate=True)
        except binascii.Error as error:
            raise ValueError("counted isn't base64") from error
        if len(raw) != _DIGEST_BYTES * self.total.images or len(set(_digests(raw))) != self.total.images:
            raise ValueError(f"it names {len(raw) / _DIGEST_BYTES:g} pairs and counts {self.total.images}")
        return self

    def to_json(self) -> str:
        """The facts as a JSON object; equal facts give equal text."""
        return self.model_dump_json() + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, name: str = "the card") -> CardFacts:
        """Read the text of `to_json`. Raises ManifestError if the text is damaged or of a newer version."""
        return cls.parse(text, name, ManifestError, "delete it, and the next merge starts a new one")


@dataclass(frozen=True)
class DataCard:
    """A version of the data set: photos in the manifests before and after, and the facts about the photos.

    `manifests` names the .dir objects.
    """

    before: int
    added: int
    replaced: int
    removed: int
    facts: CardFacts
    manifests: Mapping[str, str]

    @property
    def images(self) -> int:
        """Photos in this version."""
        return self.before + self.added - self.removed


def extend(previous: CardFacts | None, new: Sequence[CardPair]) -> CardFacts:
    """The card after a merge of `new`; pairs whose stem `previous` has counted are skipped.

    Without a previous card (None) the result knows the new pairs only. Without new pairs the card stays the same.
    """
    before = previous or CardFacts()
    known = set(_digests(base64.b64decode(before.counted)))
    fresh: dict[bytes, CardPair] = {}
    for pair in new:
        digest = hashlib.sha256(pair.stem.encode()).digest()[:_DIGEST_BYTES]
        if digest not in known:
            fresh.setdefault(digest, pair)
    if not fresh:
        return before
    newest = _figures(fresh.values())
    return before.changed(
        total=before.total + newest,
        newest=newest,
        # The lowest hashes are a random but repeatable choice of photos.
        shown=tuple(sorted(fresh[digest].stem for digest in sorted(fresh)[:MOST_PICTURES])),
        counted=base64.b64encode(b"".join(sorted(known | fresh.keys()))).decode(),
    )


def card_facts(
    facts: CardFacts, *, before: Mapping[str, str], after: Mapping[str, str], manifests: Mapping[str, str] | None = None
) -> DataCard:
    """Facts and the photos' manifests (relative path -> MD5) before and after a merge as a card.

    `manifests` may name the version's manifests ("images" -> "....dir").
    """
    kept = before.keys() & after.keys()
    return DataCard(
        before=len(before),
        added=len(after) - len(kept),
        replaced=sum(before[path] != after[path] for path in kept),
        removed=len(before) - len(kept),
        facts=facts,
        manifests=dict(manifests or {}),
    )


def measure(folder: Path, split_of: Mapping[str, str], config: DataConfig) -> tuple[CardPair, ...]:
    """Measure every pair of folder/images and folder/masks; `split_of` is the split of a photo's sha256.

    A photo without a split counts as "unassigned". Raises the errors of `find_pairs` and `measure_pair`.
    """
    return tuple(
        measure_pair(pair, split_of.get(sha256_file(pair.image), "unassigned"), config) for pair in find_pairs(folder)
    )


def measure_pair(pair: Pair, split: str, config: DataConfig) -> CardPair:
    """Measure a pair; raises the errors of `read_pair`."""
    _, mask = read_pair(pair, config)
    width, height = image_size(pair.image)
    sizes = (pair.image.stat().st_size, pair.mask.stat().st_size)
    return CardPair(pair.stem, split, width, height, *sizes, coverage=float((mask > 0).mean()))


def _figures(pairs: Iterable[CardPair]) -> Figures:
    listed = list(pairs)
    ppm = [round(pair.coverage * 1e6) for pair in listed]
    bins = Counter(bisect_right(COVERAGE_EDGES, share / 1e4) for share in ppm)
    return Figures(
        images=len(listed),
        splits=_add({}, Counter(pair.split for pair in listed)),
        image_bytes=sum(pair.image_bytes for pair in listed),
        mask_bytes=sum(pair.mask_bytes for pair in listed),
        resolutions=_add({}, Counter(f"{pair.width} x {pair.height}" for pair in listed)),
        coverage=tuple(bins[index] for index in range(len(COVERAGE_EDGES) + 1)),
        coverage_ppm=sum(ppm),
    )


def _add(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """Sums by key, sorted by key."""
    return {key: one.get(key, 0) + other.get(key, 0) for key in sorted({*one, *other})}


def _digests(raw: bytes) -> Iterator[bytes]:
    return (raw[start : start + _DIGEST_BYTES] for start in range(0, len(raw), _DIGEST_BYTES))
