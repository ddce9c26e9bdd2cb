"""The erasure of photos from the bucket: recorded first, so that a second run finishes what a kill left half done."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from wms.data.manifest import DataSet, Manifest, stem_of
from wms.errors import ManifestError
from wms.text import counted
from wms_ops.base.errors import DamagedBlobError, DataConflictError, GitError, MissingBlobError
from wms_ops.base.layout import ERASED, main_branch, pointer
from wms_ops.dataset.branches import store_manifests
from wms_ops.dataset.erased import Erasure, mark_of, read_erasures, write_erasure
from wms_ops.dataset.history import Push, cache_of, commits_of, history, nearest
from wms_ops.dataset.losses import REMOVED
from wms_ops.dataset.plan import plan_removal
from wms_ops.dataset.publish import open_store, push_new_branch
from wms_ops.dataset.stored import as_stored, md5_of
from wms_ops.dataset.versions import commit_version, dvc_config_at, file_at, pointers_at, version_at
from wms_ops.git.command import Git
from wms_ops.git.scratch import Scratch, scratch_clone
from wms_ops.storage.remote import S3Remote


@dataclass
class Erased:
    """The state of an erasure: branches that still name a photo, versions deleted, and contents kept for a namesake.

    `bringing` are those data branches of `naming` that began without the photo, so that no join takes it out. Nothing
    is deleted while the data set of an `unreadable` branch may name the content for another photo.
    """

    records: tuple[Erasure, ...]
    branch: str = ""
    naming: list[str] = field(default_factory=list)
    bringing: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    untold: int = 0
    """Pushes of main whose manifests are gone, so that contents which only they named aren't known."""

    deleted: int = 0
    former: tuple[Erasure, ...] = ()
    """The records of earlier runs about these names, as they were before this run."""

    kept: dict[str, str] = field(default_factory=dict)
    """Contents of the photos that stay, each with the name of another photo that has or had the content, too."""

    @property
    def done(self) -> bool:
        """Whether the bucket holds nothing of the photos any more."""
        return all(record.state == "done" for record in self.records)


@dataclass(frozen=True)
class _Work:
    """The user's clone, a clone of the remote with main's commit, the store, and the versions by branch."""

    git: Git
    scratch: Scratch
    main: str
    store: S3Remote
    versions: Mapping[str, DataSet]


def erase(git: Git, url: str, names: Sequence[str], reason: str) -> Erased:
    """Erase photos, their masks and all their former contents; run it again until the result is `done`.

    First the record, then a data branch without the names; the contents are deleted in all their versions once neither
    main nor a data branch names them. Raises DataConflictError for an unknown name, AccessDeniedError without the right
    to delete versions (the record stays open), GitError, and the store's errors.
    """
    with scratch_clone(git, url, depth=None) as scratch:
        main = scratch.base
        if main is None:
            raise GitError(f"There is no branch {main_branch()} in the remote repository.")
        store = open_store(dvc_config_at(scratch.git, main), git)
        store.check_access()
        versions, unreadable = _versions(scratch, main, store)
        work = _Work(git, scratch, main, store, versions)
        earlier = {one.name: one for one in read_erasures(store)}
        contents = {name: _contents(work, name, earlier.get(name)) for name in dict.fromkeys(names)}
        wanted = {md5 for found in contents.values() for md5 in found}
        kept, naming = _users(versions, wanted, set(names))
        kept |= _former_users(work, wanted - kept.keys(), set(names), earlier.values())
        date, by = datetime.now(UTC).isoformat(timespec="seconds"), _person(git)
        new = [
            Erasure(name=name, contents=found, marks=[], date=date, reason=reason, by=by)
            for name, found in contents.items()
        ]
        records = tuple(_record(work, one, earlier.get(one.name), kept) for one in new)
        done = Erased(records, naming=naming, unreadable=unreadable, kept=kept)
        done.former = tuple(earlier[name] for name in contents if name in earlier)
        done.untold = sum(push.change is None for push in _history(work))
        current = versions[main_branch()]
        if present := [record.name for record in records if record.name in current.pairs]:
            done.branch = _branch(work, present, records)
        done.bringing = [branch for branch in done.naming if _brings(work, branch, set(names))]
        if not done.naming and not unreadable:
            done.deleted = store.erase(wanted - done.kept.keys())
            done.records = tuple(record.model_copy(update={"state": "done"}) for record in records)
            for record in done.records:
                write_erasure(store, record)
        return done


def _versions(scratch: Scratch, main: str, store: S3Remote) -> tuple[dict[str, DataSet], list[str]]:
    """Return the data sets of main and of the data branches, and the data branches that can't be read."""
    found, unreadable = {main_branch(): version_at(scratch.git, main, store)}, list[str]()
    for branch, tip in scratch.data_branches.items():
        try:
            if pointers_at(scratch.git, tip):
                found[branch] = version_at(scratch.git, tip, store)
        except (ManifestError, MissingBlobError, DamagedBlobError):
            unreadable.append(branch)
    return found, unreadable


def _users(versions: Mapping[str, DataSet], wanted: set[str], names: set[str]) -> tuple[dict[str, str], list[str]]:
    """Return the contents that other names have, too, and the branches that still hold the names themselves."""
    kept, naming = dict[str, str](), list[str]()
    for branch, version in versions.items():
        for stem, (_, image, _, mask) in version.pairs.items():
            if held := {image, mask} & wanted:
                if stem in names:
                    naming.append(branch)
                else:
                    kept |= dict.fromkeys(held, stem)
    return kept, list(dict.fromkeys(naming))


def _former_users(work: _Work, wanted: Set[str], names: set[str], erasures: Iterable[Erasure]) -> dict[str, str]:
    """Return the masks that other photos of older commits have: a revert and those commits need these masks.

    A photo that is erased, or is being erased under another name, needs none.
    """
    gone = {*wanted, *(md5 for one in erasures for md5 in one.contents)}
    found, seen = dict[str, str](), set[str]()
    for push in commits_of(work.scratch.git, work.main):
        with contextlib.suppress(ManifestError, MissingBlobError, DamagedBlobError):
            mask_list = pointers_at(work.scratch.git, push.commit)["masks"]
            if mask_list.oid in seen:
                continue
            seen.add(mask_list.oid)
            masks = Manifest.parse(work.store.read_manifest(mask_list.oid), pointer("masks")).files
            if others := {stem_of(path) for path, md5 in masks.items() if md5 in wanted} - names:
                pairs = version_at(work.scratch.git, push.commit, work.store).pairs
                found |= {pairs[one][3]: f"{one} in older commits" for one in others if pairs[one][1] not in gone}
    return found


def _brings(work: _Work, branch: str, names: set[str]) -> bool:
    """Return whether a data branch holds a name that main didn't hold where the branch began."""
    if branch == main_branch():
        return False
    start = work.scratch.git("merge-base", work.main, work.scratch.data_branches[branch])
    try:
        before = version_at(work.scratch.git, start, work.store).pairs
    except (ManifestError, MissingBlobError, DamagedBlobError):
        before = work.versions[main_branch()].pairs
    return bool(names & work.versions[branch].pairs.keys() - before.keys())


def _record(work: _Work, new: Erasure, earlier: Erasure | None, kept: Collection[str]) -> Erasure:
    """Return the record of a name, written before anything is deleted; a former run's record goes on.

    A content that another photo has isn't erased and so gets no mark, until a later run finds no such photo any more.
    """
    contents = new.contents
    stays = [md5 for md5 in contents if md5 in kept]
    former = set(earlier.marks) - _marks(work.store, stays) if earlier else set[str]()
    marks = sorted(former | _marks(work.store, [md5 for md5 in contents if md5 not in kept]))
    if earlier and (contents, stays, marks) == (earlier.contents, earlier.kept, earlier.marks):
        return earlier
    told = earlier if earlier and contents == earlier.contents else new
    record = told.model_copy(update={"kept": stays, "marks": marks, "state": "open"})
    write_erasure(work.store, record)
    return record


def _person(git: Git) -> str:
    """Return the name that git would give a commit made now; "" without one."""
    done = git.attempt("var", "GIT_AUTHOR_IDENT")
    return done.stdout.decode("utf-8", "replace").partition(" <")[0] if done.returncode == 0 else ""


def _contents(work: _Work, name: str, earlier: Erasure | None) -> list[str]:
    """Return the MD5s of all photos and masks that a name has or had, in main's history, on data branches, recorded.

    Raises DataConflictError for a name that never had any.
    """
    found = [version.pairs.get(name) for version in work.versions.values()]
    for push in _history(work):
        if push.did(name):
            found.append(version_at(work.scratch.git, push.commit, work.store).pairs.get(name))
    recorded = earlier.contents if earlier else []
    contents = list(dict.fromkeys([*recorded, *(md5 for row in found if row for md5 in (row[1], row[3]))]))
    if not contents:
        known = {stem for version in work.versions.values() for stem in version.pairs}
        raise DataConflictError(f"No push ever brought a photo named {name!r}{nearest(name, known)}.")
    return contents


def _history(work: _Work) -> Iterator[Push]:
    return history(work.scratch.git, work.main, work.store, cache_of(work.git))


def _marks(store: S3Remote, contents: Sequence[str]) -> set[str]:
    """Return the marks of contents, and of what contents stored with private metadata are without that."""
    return {mark_of(md5) for md5 in (*contents, *_as_stored(store, contents))}


def _as_stored(store: S3Remote, contents: Sequence[str]) -> list[str]:
    """Return the MD5s that contents stored with private metadata have without."""
    found = []
    with TemporaryDirectory(prefix="wms-erase-") as folder:
        for md5 in contents:
            try:
                store.read_blob(md5, Path(folder) / md5)
            except (MissingBlobError, DamagedBlobError):
                continue
            found.append(md5_of(as_stored(md5, (Path(folder) / md5).read_bytes())))
    return found


def _branch(work: _Work, names: Sequence[str], records: Sequence[Erasure]) -> str:
    """Return the data branch without these names, pushed by this run or an earlier one."""
    after = plan_removal(work.versions[main_branch()], names)
    oids = {kind: manifest.oid for kind, manifest, _ in after}
    for branch, tip in work.scratch.data_branches.items():
        if {kind: one.oid for kind, one in pointers_at(work.scratch.git, tip).items()} == oids:
            return branch
    store_manifests(work.store, after)
    tombstones = (file_at(work.scratch.git, work.main, ERASED) or "").splitlines()
    lines = "".join(f"{line}\n" for line in dict.fromkeys([*tombstones, *(record.line for record in records)]))
    message = (
        f"Erase data: {counted(len(names), 'photo')}\n\nTheir tombstones are in {ERASED}.\n\n{REMOVED}: {len(names)}\n"
    )
    commit = commit_version(work.scratch.git, after, [work.main], message, more={ERASED: lines})
    return push_new_branch(work.scratch, commit, suffix="-erase")
