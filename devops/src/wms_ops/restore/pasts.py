"""Puts a lost run together from the bucket: the files that MLflow kept there, and the published model.

Every file whose hash the ledger knows is compared with it; a file with another hash doesn't count.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from wms.config import parse_config
from wms.errors import ConfigError, WmsError
from wms.files import parse_json, sha256_bytes
from wms.json_text import to_json
from wms.metrics import FINAL, METRICS
from wms.project import project
from wms.registry.ledger import LedgerEntry
from wms.registry.lineage import CARD, CONFIG, DATA, FILES, ONNX, SCORES, WEIGHTS
from wms.registry.mlflow_rebuild import PastRun
from wms.registry.restored import COPY
from wms.registry.types import VERDICT_FILE
from wms.registry.verdicts import DECISION, RECORD
from wms.text import flattened
from wms_ops.release.sources import ModelSource
from wms_ops.storage.bucket import Bucket

METADATA: Final = "metadata.json"
MODEL: Final = "model/"
_LOSS: Final = "loss"
_KEY: Final = re.compile(r"(?:^|/)(?P<run>[0-9a-f]{32})/artifacts/(?P<path>.+)$", re.DOTALL)


_LONGEST_PART: Final = 200


def _can_be_stored(path: str) -> bool:
    """Whether MLflow and a file system take a file's path within a run; a bucket takes any name."""
    while (plain := unquote(path)) != path:
        path = plain
    return all(
        part not in ("", ".", "..") and len(part.encode()) <= _LONGEST_PART and part.isprintable() and "\\" not in part
        for part in path.split("/")
    )


class ArtifactStore:
    """The files that a lost MLflow server kept in a bucket, or in a folder, by run.

    `odd` are the keys of files that no run can have, which a writer of the bucket has put there.
    """

    def __init__(self, name: str, keys: Iterable[str], read: Callable[[str], bytes | None]) -> None:
        self.name, self._read = name, read
        self._keys: dict[str, dict[str, str]] = {}
        self.odd: list[str] = []
        for key in keys:
            if (told := _KEY.search(key)) and not key.endswith("/"):  # an empty folder, as S3's console makes it
                if _can_be_stored(told["path"]):
                    self._keys.setdefault(told["run"], {})[told["path"]] = key
                else:
                    self.odd.append(key)

    @classmethod
    def of_bucket(cls, bucket: Bucket, prefix: str) -> ArtifactStore:
        """List the files below a prefix. Raises the bucket's errors."""

        def read(key: str) -> bytes | None:
            found = bucket.get(key)
            return found.content if found else None

        return cls(f"s3://{bucket.name}/{prefix}", bucket.names(prefix), read)

    @property
    def runs(self) -> frozenset[str]:
        """The ids of all runs that have files, without the copies that a restore made."""
        return frozenset(run_id for run_id, files in self._keys.items() if COPY not in files)

    def files(self, run_id: str) -> dict[str, bytes]:
        """Read all files of a run by their paths in MLflow. Raises the bucket's errors."""
        found = ((path, self._read(key)) for path, key in sorted(self._keys.get(run_id, {}).items()))
        return {path: content for path, content in found if content is not None}


@dataclass(frozen=True)
class FolderSource:
    """A model in a folder of this machine, such as WMS/models."""

    folder: Path
    costs: bool = field(default=False, init=False)

    @property
    def name(self) -> str:
        return str(self.folder)

    def fetch(self, entry: LedgerEntry) -> Mapping[str, bytes]:  # noqa: ARG002 (the protocol's signature)
        """Return those of the model's files that are in the folder; the caller compares hashes."""
        return {name: (self.folder / name).read_bytes() for name in FILES if (self.folder / name).is_file()}


@dataclass(frozen=True)
class Collected:
    """A run put together, the files that no source has as the ledger knows them, and other sources that were used."""

    run: PastRun
    missing: Sequence[str]
    used: Sequence[str]


def collect(entry: LedgerEntry, store: ArtifactStore | None, sources: Sequence[ModelSource]) -> Collected:
    """Put the run of a ledger entry together. Raises the bucket's errors; another source that fails is passed over."""
    files = store.files(entry.run_id) if store else {}
    wanted = _wanted(entry)
    files = {path: content for path, content in files.items() if path not in wanted or _fits(content, wanted[path])}
    used: list[str] = []
    for source in sources:
        lacking = [name for name in FILES if MODEL + name not in files]
        if not lacking:
            break
        with contextlib.suppress(WmsError):
            got = source.fetch(entry)
            fitting = [name for name in lacking if name in got and _belongs(name, got, entry)]
            files |= {MODEL + name: got[name] for name in fitting}
            used += [source.name] if fitting else []
    required = dict.fromkeys([*wanted, *(MODEL + name for name in FILES), DATA, METADATA])
    return Collected(_run(entry, files), [path for path in required if path not in files], used)


def _wanted(entry: LedgerEntry) -> dict[str, str]:
    """The SHA-256 of each file that the ledger knows, by the file's path in MLflow."""
    hashes = {MODEL + WEIGHTS: entry.weights_sha256, MODEL + ONNX: entry.onnx_sha256, DATA: entry.data_version}
    return hashes | {(MODEL + name if name == CARD else name): digest for name, digest in entry.files.items()}


def _fits(content: bytes, digest: str) -> bool:
    return sha256_bytes(content) == digest


def _belongs(name: str, got: Mapping[str, bytes], entry: LedgerEntry) -> bool:
    """Whether a published file is the promoted one; older entries don't know the card, but its hashes tell."""
    if digest := _wanted(entry).get(MODEL + name):
        return _fits(got[name], digest)
    card = _object(got[name])
    return (card.get("weights_sha256"), card.get("onnx_sha256")) == (entry.weights_sha256, entry.onnx_sha256)


def _run(entry: LedgerEntry, files: Mapping[str, bytes]) -> PastRun:
    card, metadata = _object(files.get(MODEL + CARD)), _object(files.get(METADATA))
    ended = _milliseconds(metadata.get("finished_at") or entry.trained_at or entry.at)
    past = PastRun(
        run_id=entry.run_id,
        name=str(card.get("run") or metadata.get("run") or f"run-{entry.run_id[:8]}"),
        experiment=project().experiment,
        started_ms=_milliseconds(metadata.get("started_at")) or ended,
        ended_ms=ended,
        tags={**_tags(entry, files), "git_dirty": str(metadata.get("git_dirty"))},
        params={},
        metrics=_metrics(entry, card, files),
        files=dict(files),
    )
    with contextlib.suppress(ConfigError):  # a recipe of newer code still lies among the files
        if CONFIG in files:
            config = parse_config(_object(files[CONFIG]), CONFIG, stored=True)
            values = flattened(config.decisions())
            params = {name: to_json(value) if isinstance(value, list) else str(value) for name, value in values}
            return replace(past, params=params, experiment=config.tracking.experiment)
    return past


def _tags(entry: LedgerEntry, files: Mapping[str, bytes]) -> dict[str, str]:
    tags = {name: str(getattr(entry, name)) for name in ("config_hash", "data_version", "git_commit")}
    verdict = files.get(VERDICT_FILE)
    decision = _object(verdict).get("decision")
    if verdict is not None and isinstance(decision, str):
        tags |= {DECISION: decision, RECORD: sha256_bytes(verdict)}
    return tags


def _metrics(entry: LedgerEntry, card: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, float]:
    """The run's own test scores: from its scores, else from its card, else the ledger's means."""
    with contextlib.suppress(LookupError, ValueError, TypeError):
        rows = parse_json(files[SCORES])
        names = [name for name in (*METRICS, _LOSS) if name in rows[0]]
        return {f"{FINAL}{name}": sum(row[name] for row in rows) / len(rows) for name in names}
    means = entry.metrics.named()
    with contextlib.suppress(KeyError, ValueError, TypeError):
        means |= {name: float(card[f"{FINAL}{name}"]) for name in means if f"{FINAL}{name}" in card}
    return {f"{FINAL}{name}": value for name, value in means.items()}


def _object(content: bytes | None) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        if isinstance(values := parse_json(content or b"{}"), dict):
            return values
    return {}


def _milliseconds(text: object) -> int:
    with contextlib.suppress(ValueError):
        at = datetime.fromisoformat(str(text))
        return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
    return 0
