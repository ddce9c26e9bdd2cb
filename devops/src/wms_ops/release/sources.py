"""The sources of a promoted model: the S3 store, a GitHub release, or MLflow on an instance that may be stopped."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from wms.errors import ModelNotFoundError
from wms.registry.companions import read_documents
from wms.registry.ledger import LedgerEntry
from wms.registry.lineage import CARD, DOCUMENTS, FILES, ONNX, WEIGHTS
from wms.registry.mlflow_store import ModelRegistry
from wms_ops.pulls.gh import GitHub
from wms_ops.storage.remote import S3Remote

STORE = "wms/models"


class ModelSource(Protocol):
    """A source of promoted models."""

    @property
    def name(self) -> str:
        """The source's name in sentences, such as "s3://bucket/prefix"."""
        ...

    @property
    def costs(self) -> bool:
        """Whether a fetch may start a resource that costs money."""
        ...

    def fetch(self, entry: LedgerEntry) -> Mapping[str, bytes]:
        """The model's files by the names of FILES, not verified, and those of DOCUMENTS that the source has.

        Raises ModelNotFoundError if the source lacks a file, and its own errors if it doesn't answer.
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
        found = {
            name: self._store.read_note(key_of(entry.weights_sha256, name))
            for name in (CARD, WEIGHTS, ONNX, *DOCUMENTS)
        }
        return all_of(found, self.name, entry)


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
            self._github.download_release(release_tag(entry.weights_sha256), (*FILES, *DOCUMENTS), Path(folder))
            return all_of(read_folder(Path(folder)), self.name, entry)


class MlflowSource:
    """The artifacts of the entry's run on an MLflow server that answers."""

    costs = False

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry

    @property
    def name(self) -> str:
        return f"MLflow at {self._registry.server}"

    def fetch(self, entry: LedgerEntry) -> Mapping[str, bytes]:
        files = {name: self._registry.read_artifact(entry.run_id, f"model/{name}") for name in FILES}
        return files | read_documents(self._registry, entry.run_id)


def key_of(weights_sha256: str, name: str) -> str:
    """The store's key of a model's file, below the remote's prefix.

    >>> key_of("0a1b", "production.pth")
    'wms/models/0a1b/production.pth'
    """
    return f"{STORE}/{weights_sha256}/{name}"


def release_tag(weights_sha256: str) -> str:
    """The tag of the release that holds these weights."""
    return f"model-{weights_sha256[:12]}"


def read_folder(folder: Path) -> dict[str, bytes | None]:
    """A model's files in a folder, and those of its card; None for absent files."""
    names = (*FILES, *DOCUMENTS)
    return {name: (folder / name).read_bytes() if (folder / name).is_file() else None for name in names}


def all_of(found: Mapping[str, bytes | None], source: str, entry: LedgerEntry | None) -> dict[str, bytes]:
    """Return all files of a model. Raises ModelNotFoundError that names the files that `source` lacks."""
    files = {name: content for name, content in found.items() if content is not None}
    if missing := [name for name in FILES if name not in files]:
        what = f" of version {entry.to_version}" if entry else ""
        raise ModelNotFoundError(f"{source} lacks {', '.join(missing)}{what}.")
    return files
