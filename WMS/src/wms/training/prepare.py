"""Turns a folder of pairs into splits of samples: all work before the first training step."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from rich.progress import track

from wms.config import RunConfig
from wms.data.cache import load_prepared
from wms.data.hashes import hash_files
from wms.data.looks import look_of
from wms.data.pairs import Sample, find_pairs
from wms.data.splits import FEWEST, USED, SplitRecord
from wms.data.versions import DataItem, data_version
from wms.errors import EmptyMaskError, SplitError


@dataclass(frozen=True)
class PreparedData:
    """The samples of each split, sorted by stem, and the version of the whole."""

    splits: Mapping[str, Sequence[Sample]]
    items: Sequence[DataItem]
    version: str


def load_samples(config: RunConfig, *, quiet: bool = True) -> tuple[Sample, ...]:
    """Find, hash and decode every pair once, sorted by stem. Raises the errors of `find_pairs` and `read_pair`.

    Decoding fills the cache for training, and reports a damaged file now instead of after ten epochs.
    """
    samples = hash_samples(config.data.folder, config)

    def decode(sample: Sample) -> Sample:
        pixels = load_prepared(sample, size=config.data.cache_size, config=config.data)
        return replace(sample, has_strip=bool(pixels[3].any()))

    with ThreadPoolExecutor() as pool:
        done = pool.map(decode, samples)
        hidden = quiet or not sys.stdout.isatty()
        return tuple(track(done, "Decoding photos", total=len(samples), transient=True, disable=hidden))


def hash_samples(folder: Path, config: RunConfig) -> tuple[Sample, ...]:
    """Find and hash every pair of `folder`, sorted by stem; decodes nothing. Raises the errors of `find_pairs`."""
    pairs = find_pairs(folder)
    hashes = hash_files([path for p in pairs for path in (p.image, p.mask)], config.data.cache_folder / "hashes.json")
    return tuple(Sample(pair, hashes[pair.image], hashes[pair.mask]) for pair in pairs)


def split_samples(samples: Sequence[Sample], config: RunConfig) -> PreparedData:
    """Assign every image to a permanent split; records the new images.

    Raises SplitError, and EmptyMaskError where most masks, of all pairs or of a split, mark nothing.
    """
    if len(samples) < FEWEST:
        raise SplitError(
            f"{config.data.folder} holds {len(samples)} pairs; at least {FEWEST} are needed to train, validate and "
            "test, and 25 for figures that mean something."
        )
    refuse_mostly_empty(samples, str(config.data.folder))  # before anything is recorded
    record = SplitRecord(config.data.splits_file)
    assigned = record.update(
        {sample.image_sha256: sample.pair.image for sample in samples},
        lambda path: look_of(path, max_megapixels=config.data.max_megapixels),
        near_duplicate_bits=config.data.near_duplicate_bits,
    )
    splits: dict[str, tuple[Sample, ...]] = {
        name: tuple(s for s in samples if assigned[s.image_sha256] == name) for name in USED
    }
    for name, members in splits.items():
        if not members:
            raise SplitError(
                f"The {name} split of {config.data.folder} is empty: {config.data.splits_file} puts all "
                f"{len(samples)} images elsewhere. Add images; those recorded never move."
            )
        refuse_mostly_empty(members, f"the {name} split of {config.data.folder}")
    items = [DataItem(s.pair.stem, s.image_sha256, s.mask_sha256, assigned[s.image_sha256]) for s in samples]
    return PreparedData(splits, items, data_version(items))


def refuse_mostly_empty(samples: Sequence[Sample], where: str) -> None:
    """Raise EmptyMaskError if more than half of the masks mark nothing: a model that marks nothing would do well."""
    empty = [sample.pair.mask.name for sample in samples if not sample.has_strip]
    if 2 * len(empty) > len(samples):
        shown = ", ".join(empty[:3]) + (", ..." if len(empty) > 3 else "")
        raise EmptyMaskError(
            f"{len(empty)} of {len(samples)} masks of {where} are empty ({shown}), so nothing can be learned or "
            "measured there. Paint the strip white (255), or remove these pairs; wms data check lists them."
        )
