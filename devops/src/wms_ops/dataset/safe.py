"""The check before photos leave a clone: the data set and the store must have each, by name and content."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from wms.data.manifest import DataSet, stem_of
from wms.errors import ManifestError
from wms.project import project
from wms_ops.base.errors import CredentialsMissingError, DamagedBlobError, MissingBlobError
from wms_ops.base.layout import KINDS, inbox, main_branch
from wms_ops.dataset.proofs import algorithm_of, blob_name, branch_naming, raw_branches, source_of
from wms_ops.dataset.publish import open_store
from wms_ops.dataset.stored import as_stored, md5_of
from wms_ops.dataset.versions import dvc_config_at, pointers_at, version_at
from wms_ops.git.command import Git
from wms_ops.git.scratch import Scratch
from wms_ops.storage.codes import is_without_keys
from wms_ops.storage.remote import S3Remote

_Named = tuple[str, str, str]  # kind, stem, MD5


def refuse_unsafe(
    git: Git, scratch: Scratch, photos: Mapping[str, tuple[str, str]], tip: str
) -> tuple[dict[str, str], str]:
    """Return the MD5 of each photo of `tip` (path -> mode and Git object), and a clause on where all of them are safe.

    Safe: the remote's main or a data branch names the photo, and the store holds it. Without any keys to the store,
    the remote repository must prove that (see `proofs`), and `scratch` needs the whole history. Raises MissingBlobError
    that names a photo missing in the data set or in the store, and the store's errors.
    """
    if not photos:
        return {}, ""
    algorithm = algorithm_of(git)
    sums, stored, blobs = dict[str, str](), dict[str, str](), dict[str, str]()
    for path, content in zip(photos, git.blobs(blob for _, blob in photos.values()), strict=True):
        kept = as_stored(path.rpartition("/")[2], content)
        sums[path], stored[path] = md5_of(content), md5_of(kept)
        blobs[path] = blob_name(kept, algorithm)
    own = {path: blob for path, (_, blob) in photos.items()}
    holder = "the data set has them all"
    try:
        left, where = _not_stored(git, scratch, sums, stored)
    except CredentialsMissingError as error:
        if not is_without_keys(error):
            raise
        holder = "the remote has them all, merged already or on a branch that waits for GitHub's workflow"
        left = _not_proven(scratch, (own, blobs), source_of(git, tip))
        where = f"the remote as far as can be told without keys: neither on a data branch nor in {main_branch()}"
    if left:
        raw = (branches for form in (own, blobs) for branches in raw_branches(scratch, form).items())
        if waiting := next((branch for branch, held in raw if held.issuperset(left)), ""):
            raise MissingBlobError(
                f"{left[0]!r} (and {len(left) - 1} more) isn't in the data set yet, so nothing was changed: {waiting} "
                "holds it and waits for GitHub's workflow. Run this again once that branch is merged."
            )
        raise MissingBlobError(
            f"{left[0]!r} (and {len(left) - 1} more) isn't in {where}, so nothing was changed: push it first, by "
            f"`git push {project().remote} {main_branch()}`, then run this again."
        )
    return sums, holder


def _not_stored(git: Git, scratch: Scratch, *sums: Mapping[str, str]) -> tuple[list[str], str]:
    """Return the photos that the data set or its store lacks, and the name of what lacks them.

    `sums` are the MD5s of the photos as they are, as they may have been stored once, and as they are stored now.
    """
    names = {_named(path, md5): path for one in sums for path, md5 in one.items()}
    store = open_store(dvc_config_at(scratch.git, scratch.base or ""), git)
    missing = store.missing({md5 for _, _, md5 in names})
    held = dict[str, str]()
    for version in _versions(scratch, store):
        held |= {names[name]: name[2] for name in _names(version) & names.keys()}
        if len(held) == len(sums[0]):
            break
    left = sums[0].keys() - held.keys()
    lost = [] if left else [path for path, md5 in held.items() if md5 in missing]
    where = store.config.url if lost else "the data set, neither in main nor on a data branch of the remote"
    return sorted([*left, *lost]), where


def _not_proven(scratch: Scratch, blobs: Sequence[Mapping[str, str]], source: str) -> list[str]:
    """Return the photos (path -> Git object, in several forms) that no data branch nor a commit of this inbox holds."""
    if branch_naming(scratch, source):
        return []
    held = (paths for form in blobs for paths in raw_branches(scratch, form).values())
    return sorted(blobs[0].keys() - set[str]().union(*held))


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
