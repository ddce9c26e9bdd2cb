"""Which run used which images: a data version for each run, and a way back from an image to the runs.

A folder holds `data_versions.jsonl`, a line for each run, and `manifests/<data_version>.jsonl`, a line for each image
of a version. Runs on the same data share a manifest, so that a thousand runs over a hundred thousand images don't
repeat the list. A manifest's name is the SHA-256 of the bytes, which `sha256sum` checks.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wms import files
from wms.errors import TrackingError, WmsError
from wms.formats import from_fields
from wms.start import run_renamed

if TYPE_CHECKING:
    import polars

DATA_MANIFEST = "data.jsonl"
"""The name of a version's manifest among a run's artifacts."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA256_PREFIX = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True, slots=True)
class DataItem:
    """An image with a mask: the image's stem, the SHA-256 of both files' content, and the split."""

    stem: str
    image_sha256: str
    mask_sha256: str
    split: str

    def __post_init__(self) -> None:
        for digest in (self.image_sha256, self.mask_sha256):
            if not _SHA256.fullmatch(digest):
                hint = "give 64 lowercase hexadecimal digits, as sha256_file does"
                raise TrackingError(f"{digest!r} of image {self.stem!r} is not a SHA-256; {hint}.")


@dataclass(frozen=True)
class DataVersion:
    """The data of a run; `manifest` is relative to the folder, `recorded_at` is UTC, ISO 8601."""

    run_name: str
    recorded_at: str
    data_version: str
    counts: dict[str, int]
    augmentation: dict[str, Any]
    augmentation_hash: str
    git_commit: str | None
    manifest: str


@dataclass(frozen=True, slots=True)
class RunUse(DataItem):
    """An image in a run: the item as the run used it, and the run."""

    run_name: str
    recorded_at: str
    data_version: str


@dataclass(frozen=True)
class VersionDiff:
    """The stems in which two versions differ, each sorted; a stem may be in several of the last three."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed_mask: tuple[str, ...]
    moved_split: tuple[str, ...]
    changed_image: tuple[str, ...] = ()


def data_version(items: Iterable[DataItem]) -> str:
    """The version of a data set: a SHA-256 that neither the items' order nor any path changes."""
    return files.sha256_text(manifest_text(items))


class DataVersionManager:
    """Records which data each run used, and answers queries. Creates no file before the first `record`.

    >>> manager = DataVersionManager(folder)  # doctest: +SKIP
    >>> [use.run_name for use in manager.runs_using("meter_0001")]  # doctest: +SKIP
    ['run_20261101_120000_1a2b3c4d']
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "data_versions.jsonl"

    def record(
        self, run_name: str, items: Sequence[DataItem], augmentation: Mapping[str, Any], git_commit: str | None
    ) -> DataVersion:
        """Record the data and the augmentation of a run and return the record.

        Recording the same data and augmentation again, as a resumed run does, returns the first record even after a new
        commit. Raises TrackingError if two items share a stem, or if the run's record has other data or another
        augmentation; DiskFullError, UnwritableError.
        """
        _refuse_shared_stems(items)
        text = manifest_text(items)
        version = files.sha256_text(text)
        settings = files.canonical_json(dict(augmentation))
        new = DataVersion(
            run_name=run_name,
            recorded_at=datetime.now(UTC).isoformat(timespec="seconds"),
            data_version=version,
            counts=dict(sorted(Counter(item.split for item in items).items())),
            augmentation=files.parse_json(settings),
            augmentation_hash=files.sha256_text(settings),
            git_commit=git_commit,
            manifest=f"manifests/{version}.jsonl",
        )
        with files.exclusive_lock(self.folder / "data_versions.lock"):
            files.cut_torn_tail(self.log)
            known = self._by_run().get(run_name)
            if known is not None:
                _refuse_other_content(known, new)
            manifest = self.folder / new.manifest
            # The manifest goes first: a kill in between leaves an unused manifest, never a line without a manifest.
            # A damaged manifest is repaired here, because only here is the content known.
            if not manifest.exists() or files.sha256_file(manifest) != version:
                files.write_atomic(manifest, text)
            if known is None:
                files.append_line(self.log, files.canonical_json(asdict(new)))
        return known or new

    def get(self, run_name: str) -> DataVersion:
        """The record of a run. Raises TrackingError if the run has no record or the log is damaged."""
        if (found := self._by_run().get(run_name)) is None:
            raise TrackingError(f"No data version is recorded for run {run_name!r} in {self.log}.")
        return found

    def runs_using(self, image: str) -> list[RunUse]:
        """Every run that used an image, in the order of recording; empty if no run did.

        `image` is a stem, an image's SHA-256, or at least the first 8 digits; a stem wins over a prefix. Raises
        TrackingError if a prefix fits several images, or if the log or a manifest is damaged.
        """
        runs = list(self._by_run().values())
        versions = dict.fromkeys(run.data_version for run in runs)
        found = {v: self._items(v, f'"stem":{files.canonical_json(image)}') for v in versions}
        if not any(found.values()) and _SHA256_PREFIX.fullmatch(image):
            found = {v: self._items(v, f'"image_sha256":"{image}') for v in versions}
            images = {item.image_sha256 for items in found.values() for item in items}
            if len(images) > 1:
                raise TrackingError(f"{image!r} fits {len(images)} images; give more of its digits.")
        return [
            RunUse(**asdict(item), run_name=run.run_name, recorded_at=run.recorded_at, data_version=run.data_version)
            for run in runs
            for item in found[run.data_version]
        ]

    def history(self) -> polars.DataFrame:
        """All records, oldest first, a row for each run; a count column `images_<split>` for each split.

        `augmentation` is a column of canonical JSON. Raises TrackingError when the log is damaged.
        """
        import polars

        records = list(self._by_run().values())
        splits = sorted({split for record in records for split in record.counts})
        schema: dict[str, polars.DataType] = {
            "run_name": polars.String(),
            "recorded_at": polars.Datetime("us", "UTC"),
            "data_version": polars.String(),
            "images": polars.Int64(),
            **{f"images_{split}": polars.Int64() for split in splits},
            **dict.fromkeys(("augmentation", "augmentation_hash", "git_commit", "manifest"), polars.String()),
        }
        rows = []
        for record in records:
            when, counts = datetime.fromisoformat(record.recorded_at), record.counts
            data = (record.data_version, sum(counts.values()), *(counts.get(split, 0) for split in splits))
            settings = (files.canonical_json(record.augmentation), record.augmentation_hash)
            rows.append((record.run_name, when, *data, *settings, record.git_commit, record.manifest))
        return polars.DataFrame(rows, schema=schema, orient="row")

    def diff(self, version_a: str, version_b: str) -> VersionDiff:
        """The changes from `version_a` to `version_b`, by stem.

        Each is a run's name, a data version, or at least the first 8 digits. Raises TrackingError if a version is
        unknown or ambiguous, or if the log or a manifest is damaged.
        """
        before, after = (
            {item.stem: item for item in self._items(self._resolve(version))} for version in (version_a, version_b)
        )
        shared = sorted(before.keys() & after.keys())
        return VersionDiff(
            added=tuple(sorted(after.keys() - before.keys())),
            removed=tuple(sorted(before.keys() - after.keys())),
            changed_mask=tuple(s for s in shared if before[s].mask_sha256 != after[s].mask_sha256),
            moved_split=tuple(s for s in shared if before[s].split != after[s].split),
            changed_image=tuple(s for s in shared if before[s].image_sha256 != after[s].image_sha256),
        )

    def _by_run(self) -> dict[str, DataVersion]:
        records: dict[str, DataVersion] = {}
        try:
            lines = list(files.read_json_lines(self.log))
        except OSError as error:
            raise TrackingError(f"Can't read {self.log}: {error.strerror}; restore the file.") from error
        for number, fields in lines:
            try:
                files.canonical_json(fields).encode()  # lone surrogates and NaN fit into no table and no JSON
                records[fields["run_name"]] = from_fields(
                    DataVersion, fields, f"{self.log}, line {number}", TrackingError
                )
            except (TypeError, KeyError, ValueError) as error:
                reason = "is damaged: it isn't a run's record; restore the file, or delete that line"
                raise TrackingError(f"{self.log}, line {number} {reason}.") from error
        return records

    def _resolve(self, text: str) -> str:
        records = self._by_run()
        if text in records:
            return records[text].data_version
        versions = {record.data_version for record in records.values()}
        found = [v for v in versions if v.startswith(text)] if _SHA256_PREFIX.fullmatch(text) else []
        if len(found) != 1:
            reason = f"fits {len(found)} data versions" if found else "is neither a run nor a data version"
            raise TrackingError(f"{text!r} {reason} in {self.log}; `wms data history` lists all of them.")
        return found[0]

    def _items(self, version: str, needle: str = '"stem":') -> list[DataItem]:
        # Parsing only the lines that hold the needle keeps a hundred versions of a large data set quick.
        path = self.folder / "manifests" / f"{version}.jsonl"
        return read_items(files.lines_holding(files.read_verified(path, version), needle), str(path))


def manifest_text(items: Iterable[DataItem]) -> str:
    """A version's manifest: a line of canonical JSON for each item, in an order that depends only on contents."""
    key = attrgetter("image_sha256", "mask_sha256", "stem", "split")
    return "".join(f"{files.canonical_json(asdict(item))}\n" for item in sorted(items, key=key))


def read_items(lines: Iterable[bytes], where: str, newer: type[WmsError] = TrackingError) -> list[DataItem]:
    """The items of lines that `manifest_text` wrote; errors name the file `where`.

    Raises TrackingError for a damaged line, `newer` for a line of a later version.
    """
    try:
        return [from_fields(DataItem, files.parse_json(line), where, newer) for line in lines]
    except (ValueError, TypeError) as error:
        raise TrackingError(f"{where} is damaged; restore that file.") from error


def _refuse_shared_stems(items: Sequence[DataItem]) -> None:
    for stem, times in Counter(item.stem for item in items).most_common(1):
        if times > 1:
            raise TrackingError(f"{times} images claim the stem {stem!r}; rename all but one of them.")


def _refuse_other_content(known: DataVersion, new: DataVersion) -> None:
    for what in ("data_version", "augmentation_hash"):
        before, now = getattr(known, what), getattr(new, what)
        if before != now:
            reason = f"is on record with {what} {before[:12]}, but comes with {now[:12]} now"
            raise TrackingError(f"Run {new.run_name!r} {reason}; choose another run name.")


if __name__ == "__main__":
    folder = sys.argv[1:3] if sys.argv[1:2] == ["--folder"] else []
    sys.exit(run_renamed("wms.data.versions", "data", argv=[*sys.argv[1 + len(folder) :], *folder]))
