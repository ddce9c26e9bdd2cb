"""The check before photos leave a clone: the data set and the store must have each, by name and content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from wms.data.manifest import DataSet, stem_of
from wms.errors import ManifestError
from wms.project import project
from wms_ops.base.errors import DamagedBlobError, MissingBlobError
from wms_ops.base.layout import KINDS, inbox, main_branch
from wms_ops.dataset.publish import open_store
from wms_ops.dataset.versions import dvc_config_at, pointers_at, version_at
from wms_ops.git.command import Git
from wms_ops.git.scratch import Scratch
from wms_ops.storage.remote import S3Remote

_Named = tuple[str, str, str]  # kind, stem, MD5


def refuse_unsafe(git: Git, scratch: Scratch, photos: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Return the MD5 of each photo (path -> mode and Git object); the remote's main or a data branch holds all of them.

    Raises MissingBlobError that names a photo missing in the data set or in the store, and the store's errors.
    """
    if not photos:
        return {}
    blobs = git.blobs(blob for _, blob in photos.values())
    sums = {
        path: hashlib.md5(content, usedforsecurity=False).hexdigest()
        for path, content in zip(photos, blobs, strict=True)
    }
    wanted = {_named(path, md5): path for path, md5 in sums.items()}
    store = open_store(dvc_config_at(scratch.git, scratch.base or ""), git)
    for version in _versions(scratch, store):
        for name in _names(version) & wanted.keys():
            del wanted[name]
        if not wanted:
            break
    missing = set() if wanted else store.missing(sums.values())
    lost = [path for path, md5 in sums.items() if md5 in missing]
    if left := sorted([*wanted.values(), *lost]):
        where = store.config.url if lost else "the data set, neither in main nor on a data branch of the remote"
        raise MissingBlobError(
            f"{left[0]!r} (and {len(left) - 1} more) isn't in {where}, so nothing was changed: push it first, by "
            f"`git push {project().remote} {main_branch()}`, then run this again."
        )
    return sums


def _named(path: str, md5: str) -> _Named:
    kind = next((kind for kind in KINDS if path.startswith(f"{inbox(kind)}/")), "")
    return kind, stem_of(path.removeprefix(f"{inbox(kind)}/")), md5


def _names(version: DataSet) -> set[_Named]:
    return {(kind, stem_of(path), md5) for kind, manifest, _ in version for path, md5 in manifest.files.items()}


def _versions(scratch: Scratch, store: S3Remote) -> Iterator[DataSet]:
    """Yield the readable data sets of the remote's main and data branches."""
    for commit in (scratch.base, *scratch.data_branches.values()):
        try:
            if commit and pointers_at(scratch.git, commit):
                yield version_at(scratch.git, commit, store)
        except (ManifestError, MissingBlobError, DamagedBlobError):
            continue  # another branch may have them
