"""A version of the data set in Git: read from a commit, written as a commit that changes the two .dvc files only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from wms.data.manifest import DataSet, Manifest, Pointer, pointer_text
from wms.errors import ManifestError
from wms_ops.base.errors import StoreConfigError
from wms_ops.base.layout import DVC_CONFIG, KINDS, pointer
from wms_ops.git.command import Git
from wms_ops.git.write import identity, write_commit, write_tree
from wms_ops.storage.config import NAME_A_BUCKET


def file_at(git: Git, commit: str, path: str) -> str | None:
    """Return the text of a file in a commit, or None for a missing file."""
    if not git.ok("cat-file", "-e", f"{commit}:{path}"):
        return None
    return git.raw("cat-file", "blob", f"{commit}:{path}").decode("utf-8", "replace")


def pointers_at(git: Git, commit: str) -> dict[str, Pointer]:
    """Return the two .dvc files of a commit by kind; none before the first merge. Raises ManifestError."""
    kinds = {pointer(kind): kind for kind in KINDS}
    found: dict[str, Pointer] = {}
    for entry in git.names("ls-tree", "-z", "--full-tree", commit, "--", *kinds):
        about, path = entry.split("\t", 1)
        mode, _, blob = about.split()
        if not mode.startswith("100"):
            raise ManifestError(f"{path} isn't a file in commit {commit[:10]}; restore it from an older one.")
        (content,) = git.blobs([blob])
        found[kinds[path]] = Pointer.parse(content.decode("utf-8", "replace"), path, kinds[path])
    if len(found) == 1:
        missing = pointer(next(kind for kind in KINDS if kind not in found))
        raise ManifestError(
            f"{missing} isn't in commit {commit[:10]}, but its partner is; restore it from an older one."
        )
    return found


class Manifests(Protocol):
    """The source of manifests: a store, or several sources together."""

    def read_manifest(self, oid: str) -> bytes:
        """Return the JSON bytes of the manifest `oid` ("<md5>.dir"). Raises MissingBlobError, DamagedBlobError."""
        ...


def version_of(pointers: Mapping[str, Pointer], store: Manifests) -> DataSet:
    """Return the data set of two .dvc files; only the manifests are fetched.

    Raises MissingBlobError, DamagedBlobError, ManifestError, and the store's errors.
    """
    if not pointers:
        return DataSet()
    read = {kind: Manifest.parse(store.read_manifest(one.oid), pointer(kind)) for kind, one in pointers.items()}
    for kind, one in pointers.items():
        if one.nfiles not in (None, len(read[kind].files)):
            raise ManifestError(f"{pointer(kind)} says {one.nfiles} files, its manifest holds {len(read[kind].files)}.")
    return DataSet(read["images"], read["masks"], pointers["images"].size, pointers["masks"].size)


def version_at(git: Git, commit: str, store: Manifests) -> DataSet:
    """Return the data set at a commit. Raises as `version_of` and `pointers_at` do."""
    return version_of(pointers_at(git, commit), store)


def dvc_config_at(git: Git, commit: str) -> str:
    """Return the text of .dvc/config in a commit. Raises StoreConfigError in a repository without DVC."""
    text = file_at(git, commit, DVC_CONFIG)
    if text is None:
        raise StoreConfigError(f"Commit {commit[:10]} holds no {DVC_CONFIG}: {NAME_A_BUCKET}.")
    return text


def commit_version(
    git: Git,
    version: DataSet,
    parents: Sequence[str],
    message: str,
    *,
    tree: str | None = None,
    author: Mapping[str, str] | None = None,
    more: Mapping[str, str] | None = None,
) -> str:
    """Write a commit whose tree is `tree` (the first parent's if None) with this version's pointers, and return its id.

    `author` holds Git's variables of another author than the user, `more` further files by path. Needs neither a work
    tree nor the repository's index. Raises GitError.
    """
    texts = {pointer(kind): pointer_text(manifest, size, kind).encode() for kind, manifest, size in version}
    texts |= {path: text.encode() for path, text in (more or {}).items()}
    blobs = {path: git("hash-object", "-w", "--stdin", data=text) for path, text in texts.items()}
    entries = (("100644", blob, path) for path, blob in blobs.items())
    written = write_tree(git, tree or parents[0], entries, git.folder / "wms-index")
    return write_commit(git, written, parents, message.encode(), environ={**identity(git), **(author or {})})
