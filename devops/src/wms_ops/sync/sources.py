"""Where a promoted model can be had: the S3 store, a GitHub release, or MLflow on an instance that may sleep."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from wms.errors import ModelDamagedError, ModelNotFoundError
from wms.registry.ledger import LedgerEntry
from wms.registry.lineage import CARD, FILES, ONNX, WEIGHTS
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.weights import check_architecture
from wms_ops.errors import DamagedBlobError
from wms_ops.store.remote import S3Remote
from wms_ops.sync.gh import GitHub

STORE = "wms/models"


class ModelSource(Protocol):
    """A place that holds promoted models."""

    @property
    def name(self) -> str:
        """What sentences call it, such as "s3://bucket/prefix"."""
        ...

    @property
    def costs(self) -> bool:
        """Whether asking it may start something that costs money."""
        ...

    def fetch(self, entry: LedgerEntry) -> Mapping[str, bytes]:
        """The model's files by the names of FILES, not verified.

        Raises ModelNotFoundError where the place doesn't hold them, and its own errors where it can't be asked.
        """
        ...


class S3Source:
    """The S3 store: wms/models/<SHA-256 of the weights>/production.* below the DVC remote's prefix."""

    costs = False

    def __init__(self, store: S3Remote) -> None:
        self._store = store

    @property
    def name(self) -> str:
        return self._store.config.url

    def fetch(self, entry: LedgerEntry) -> Mapping[str, bytes]:
        found = {name: self._store.read_note(key_of(entry.weights_sha256, name)) for name in (CARD, WEIGHTS, ONNX)}
        return _all_of(found, self.name, entry)


class ReleaseSource:
    """A GitHub release with the tag `model-<first 12 digits of the weights' SHA-256>` and production.* as assets."""

    costs = False

    def __init__(self, github: GitHub) -> None:
        self._github = github

    @property
    def name(self) -> str:
        return "the releases on GitHub"

    def fetch(self, entry: LedgerEntry) -> Mapping[str, bytes]:
        with tempfile.TemporaryDirectory(prefix="wms-release-", ignore_cleanup_errors=True) as folder:
            self._github.download_release(release_tag(entry.weights_sha256), "production.*", Path(folder))
            return _all_of(_read(Path(folder)), self.name, entry)


class MlflowSource:
    """The artifacts of the entry's run on an MLflow server that answers."""

    costs = False

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry

    @property
    def name(self) -> str:
        return f"MLflow at {self._registry.server}"

    def fetch(self, entry: LedgerEntry) -> Mapping[str, bytes]:
        return {name: self._registry.read_artifact(entry.run_id, f"model/{name}") for name in FILES}


def key_of(weights_sha256: str, name: str) -> str:
    """Where the store keeps one file of a model, below the remote's prefix."""
    return f"{STORE}/{weights_sha256}/{name}"


def release_tag(weights_sha256: str) -> str:
    """The tag of the release that holds these weights."""
    return f"model-{weights_sha256[:12]}"


def publish_model(store: S3Remote, model: Path | Mapping[str, bytes]) -> bool:
    """Bring a model (its folder, or its files by the names of FILES) to the S3 store, and read back what was sent.

    Returns whether anything had to be sent; repeat it after an error or a kill. Raises ModelNotFoundError or
    ModelDamagedError for files that don't belong together, also where the store already holds these weights with
    another sound ONNX file; DamagedBlobError if the store gives back other bytes; the store's own errors.
    """
    files = _all_of(_read(model) if isinstance(model, Path) else model, "The folder to publish", None)
    weights_sha256 = _check_set(files)
    there = {name: store.read_note(key_of(weights_sha256, name)) for name in FILES}
    if {**files} == there:
        return False
    _refuse_other_set(there, files, store.config.url)
    for name in FILES:  # the card last: a reader who finds it finds the others, too
        if there[name] == files[name]:
            continue
        key = key_of(weights_sha256, name)
        store.write_note(key, files[name])
        if store.read_note(key) != files[name]:
            raise DamagedBlobError(f"{store.config.url}/{key} isn't what was sent there; run this again.")
    return True


def _check_set(files: Mapping[str, bytes]) -> str:
    """The hash of weights that fit the card and the ONNX file beside them."""
    try:
        card: Any = json.loads(files[CARD])
        expected = (card["weights_sha256"], card["onnx_sha256"])
    except (ValueError, TypeError, KeyError) as error:
        raise ModelDamagedError(f"{CARD} doesn't describe a model ({error!r}); export it again.") from error
    for name, digest in zip((WEIGHTS, ONNX), expected, strict=True):
        if sha256(files[name]).hexdigest() != digest:
            raise ModelDamagedError(f"{name} isn't the file that {CARD} beside it describes; nothing was published.")
    check_architecture(files[WEIGHTS], WEIGHTS, card)
    return str(expected[0])


def _refuse_other_set(there: Mapping[str, bytes | None], files: Mapping[str, bytes], url: str) -> None:
    """Damage is repaired; but a sound set with other settings belongs to an earlier version."""
    card, graph = there[CARD], there[ONNX]
    if card is None or graph is None or graph == files[ONNX]:
        return
    try:
        sound = json.loads(card)["onnx_sha256"] == sha256(graph).hexdigest()
    except (ValueError, TypeError, KeyError):
        return
    if sound:
        raise ModelDamagedError(
            f"{url} already holds these weights with another {ONNX}, of a version that people may go back to; train "
            "again instead of exporting the same weights with other settings."
        )


def _read(folder: Path) -> dict[str, bytes | None]:
    return {name: (folder / name).read_bytes() if (folder / name).is_file() else None for name in FILES}


def _all_of(found: Mapping[str, bytes | None], source: str, entry: LedgerEntry | None) -> dict[str, bytes]:
    files = {name: content for name, content in found.items() if content is not None}
    if missing := [name for name in FILES if name not in files]:
        what = f" of version {entry.to_version}" if entry else ""
        raise ModelNotFoundError(f"{source} lacks {', '.join(missing)}{what}.")
    return files
