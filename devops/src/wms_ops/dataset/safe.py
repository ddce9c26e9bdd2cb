"""The check before photos leave a clone: the data set and the store must have each, by name and content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from wms.data.manifest import DataSet, stem_of
from wms.errors import ManifestError
from wms.project import project
from wms_ops.base.errors import CredentialsMissingError, DamagedBlobError, MissingBlobError
from wms_ops.base.layout import KINDS, inbox, main_branch
from wms_ops.dataset.proofs import algorithm_of, blob_name, branch_naming, raw_branches, source_of
from wms_ops.dataset.publish import open_store
from wms_ops.dataset.stored import as_stored
from wms_ops.dataset.versions import dvc_config_at, pointers_at, version_at
from wms_ops.git.command import Git
from wms_ops.git.scratch import Scratch
from wms_ops.storage.remote import S3Remote
from wms_ops.storage.trouble import is_without_keys

_Named = tuple[str, str, str]  # kind, stem, MD5


def refuse_unsafe(git: Git, scratch: Scratch, photos: Mapping[str, tuple[str, str]], tip: str) -> dict[str, str]:
    """Return the MD5 of each photo of `tip` (path -> mode and Git object), all of which are safe elsewhere.

    Safe: the remote's main or a data branch names the photo, and the store holds it. Without any keys to the store,
    the remote repository must prove that (see `proofs`), and `scratch` needs the whole history. Raises MissingBlobError
    that names a photo missing in the data set or in the store, and the store's errors.
    """
    if not photos:
        return {}
    algorithm = algorithm_of(git)
    sums, stored, blobs = dict[str, str](), dict[str, str](), dict[str, str]()
    for path, content in zip(photos, git.blobs(blob for _, blob in photos.values()), strict=True):
        kept = as_stored(path.rpartition("/")[2], content)
        sums[path], stored[path] = _md5(content), _md5(kept)
        blobs[path] = blob_name(kept, algorithm)
    try:
        left, where = _not_stored(git, scratch, stored)
    except CredentialsMissingError as error:
        if not is_without_keys(error):
            raise
        left = _not_proven(scratch, blobs, source_of(git, tip))
        where = f"the remote as far as can be told without keys: neither on a data branch nor in {main_branch()}"
    if left:
        raise MissingBlobError(
            f"{left[0]!r} (and {len(left) - 1} more) isn't in {where}, so nothing was changed: push it first, by "
            f"`git push {project().remote} {main_branch()}`, then run this again."
        )
    return sums


def _not_stored(git: Git, scratch: Scratch, sums: Mapping[str, str]) -> tuple[list[str], str]:
    """Return the photos that the data set or its store lacks, and the name of what lacks them."""
    wanted = {_named(path, md5): path for path, md5 in sums.items()}
    store = open_store(dvc_config_at(scratch.git, scratch.base or ""), git)
    missing = store.missing(sums.values())
    for version in _versions(scratch, store):
        for name in _names(version) & wanted.keys():
            del wanted[name]
        if not wanted:
            break
    lost = [] if wanted else [path for path, md5 in sums.items() if md5 in missing]
    where = store.config.url if lost else "the data set, neither in main nor on a data branch of the remote"
    return sorted([*wanted.values(), *lost]), where


def _not_proven(scratch: Scratch, blobs: Mapping[str, str], source: str) -> list[str]:
    """Return the photos (path -> Git object) that neither a data branch nor a commit made of this inbox holds."""
    if branch_naming(scratch, source):
        return []
    return sorted(blobs.keys() - set[str]().union(*raw_branches(scratch, blobs).values()))


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


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
