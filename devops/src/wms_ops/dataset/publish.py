"""Publishing: new photos of a commit become blobs in the remote and a data branch that only points to the blobs.

The order makes a kill safe at any point: files first, manifests next, then a look for every name in the remote, and
only then the branch appears. A second run finds the finished parts and does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wms.data.manifest import DataSet
from wms.errors import DataQualityError, ManifestError
from wms.project import project
from wms.text import counted
from wms_ops.base.errors import BusyError, DamagedBlobError, GitError, MissingBlobError, PushRefusedError
from wms_ops.base.layout import DATA_BRANCHES, INBOX, SPLITS, main_branch
from wms_ops.base.poll import insist
from wms_ops.dataset.erased import explain_gap, read_erasures, refuse_erased
from wms_ops.dataset.inbox import InboxFile, export, inbox_files, pair_up
from wms_ops.dataset.losses import REPLACED, SOURCE
from wms_ops.dataset.plan import MergePlan, NewFile, NewPair, plan_merge, refuse_conflicts
from wms_ops.dataset.proofs import source_of
from wms_ops.dataset.settings import data_settings
from wms_ops.dataset.stored import as_held
from wms_ops.dataset.versions import commit_version, dvc_config_at, file_at, version_at
from wms_ops.git.command import Git
from wms_ops.git.scratch import Scratch, scratch_clone
from wms_ops.git.trailers import trailers_of
from wms_ops.git.write import author_of, push, remote_tip

if TYPE_CHECKING:
    from wms.config import DataConfig
    from wms_ops.dataset.cards import CardFiles
    from wms_ops.storage.client import Traffic
    from wms_ops.storage.remote import S3Remote

Step = Callable[[str], None]


def _silent(_: str) -> None:
    """Say nothing: the default of a run without a listener."""


@dataclass(frozen=True)
class Watch:
    """The listeners of a run: `say` gets sentences, `step` the name of each step just before its start."""

    say: Step = _silent
    step: Step = _silent


@dataclass(frozen=True)
class Publication:
    """The result for the photos. `branch` is None if the data set holds them all already."""

    plan: MergePlan
    branch: str | None
    repeated: bool = False  # the branch existed before this run
    uploaded: int = 0
    bytes_up: int = 0
    traffic: Traffic | None = None  # to and from the store
    where: str = ""
    base: str = ""  # the commit of the remote's main
    warnings: tuple[str, ...] = ()
    card: CardFiles | None = None
    places: int = 0  # photos whose place isn't stored


def publish(git: Git, commit: str, url: str, *, replace: bool = False, watch: Watch | None = None) -> Publication:
    """Merge the inbox of `commit` into the data set of `url`'s main and push a data branch.

    Raises the errors of the store and of git, DataQualityError, PairingError, DataConflictError, ShrinkError, and
    StoreConfigError for a store that is another project's: after any of them the remote repository is as before, and
    another run is safe.
    """
    from wms_ops.dataset.cards import write_card
    from wms_ops.storage.marker import claim

    watch = watch or Watch()
    files = inbox_files(git, commit)
    if not files:
        raise PushRefusedError(f"Commit {commit[:10]} holds no photos in {INBOX}; there is nothing to merge.")
    watch.step("access")
    store = open_store(dvc_config_at(git, commit), git)
    store.check_access()
    watch.step("clone")
    with scratch_clone(git, url) as scratch:
        base = base_of(scratch)
        published = open_store(dvc_config_at(scratch.git, base), git)
        if published.config != store.config:
            store = published  # main, not an unreviewed commit, decides which store holds the data set
            store.check_access()
        claim(store, project().project)
        watch.step("export")
        held = version_at(scratch.git, base, store)
        # Photos that were stored with their metadata stay so, unless they are to be replaced.
        known = set() if replace else {md5 for _, manifest, _ in held for md5 in manifest.files.values()}
        new = list(export(git, files, scratch.folder / "photos", known))
        if not replace:
            new = [(file, as_held(store, held, file.kind, one, scratch.folder / "photos")) for file, one in new]
        named = ((file.name, one.md5) for file, one in new if file.kind == "images")
        refuse_erased(read_erasures(store), named, held.images.files)
        pairs = pair_up([(file.kind, exported) for file, exported in new])
        watch.step("plan")
        plan = plan_merge(held, pairs, replace=replace)
        refuse_conflicts(plan.conflicts)
        source = source_of(git, commit)
        nothing_new = not plan.added and not plan.replaced
        branch, holding = (None, plan.base) if nothing_new else _published(scratch, source, pairs, store)
        if nothing_new or branch:
            # A user who reads that nothing is left to do may delete the only other copy: the files must be stored.
            _upload(store, scratch.folder / "photos", new, holding, watch)
            verify(store, holding)
            return Publication(plan, branch, repeated=bool(branch), base=base, where=store.config.url)
        watch.step("check")
        settings = data_settings(scratch.git, base)
        report = check_photos(scratch, base, settings)
        upload = _upload(store, scratch.folder / "photos", new, plan.result, watch)
        watch.step("verify")
        verify(store, plan.result)
        watch.step("card")
        photos, splits = scratch.folder / "photos", scratch.folder / "splits.jsonl"
        card = write_card(store, plan, photos, splits, settings, folder=scratch.folder.parent / "cards")
        watch.step("push")
        # A branch of raw photos names the inbox that it was made from: that name goes on.
        earlier = trailers_of(git, commit).get(SOURCE.lower(), [])
        branch = _push(scratch, plan, base, dict.fromkeys([source, *earlier]), commit)
        watch.step("done")
        return Publication(
            plan,
            branch,
            uploaded=upload.uploaded,
            bytes_up=upload.bytes_sent,
            traffic=store.traffic,
            where=store.config.url,
            base=base,
            warnings=tuple(report["warnings"]),
            card=card,
            places=sum(exported.place for _, exported in new),
        )


def verify(store: S3Remote, version: DataSet, *, unsent: frozenset[str] = frozenset()) -> None:
    """Look for every file of a version in the remote, but for the manifests `unsent`, which are still to be sent.

    Raises MissingBlobError that names missing files.
    """
    if not (missing := store.missing(version.oids - unsent)):
        return
    if gap := explain_gap(store, missing):
        raise MissingBlobError(gap)
    names = [path for _, manifest, _ in version for path, md5 in manifest.files.items() if md5 in missing]
    shown = ", ".join(names[:3]) or "a manifest"
    raise MissingBlobError(
        f"{len(missing)} files of the data set aren't in {store.config.url} ({shown}), so it was refused: run "
        "`dvc push` in a clone that has them, then push again."
    )


def open_store(config: str, git: Git) -> S3Remote:
    """Return the store of a .dvc/config and the user's own settings beside it, such as an endpoint or a profile."""
    from wms_ops.storage.config import machine_texts, parse_remote
    from wms_ops.storage.remote import S3Remote

    own = git.folder / ".dvc" / "config.local"
    try:
        local = own.read_text(encoding="utf-8")
    except OSError:
        local = ""
    return S3Remote(parse_remote(config, local, machine=machine_texts()))


def base_of(scratch: Scratch) -> str:
    """Return the commit of the remote's main. Raises PushRefusedError for a remote without main."""
    if scratch.base is None:
        raise PushRefusedError(
            f"The remote repository has no branch {main_branch()} yet: push your commits without photos first, so "
            "that the data branch has something to be compared with."
        )
    return scratch.base


def check_photos(scratch: Scratch, base: str, settings: DataConfig) -> Mapping[str, Any]:
    """Return the data check's report on the exported files, by main's settings; no store is asked.

    Raises DataQualityError.
    """
    from wms.data.qa import validate_data
    from wms.data.splits import SplitRecord

    splits = scratch.folder / "splits.jsonl"
    splits.write_text(file_at(scratch.git, base, SPLITS) or "", encoding="utf-8", newline="\n")
    recorded = {f"{entry.split} photo {entry.sha256[:12]}": entry.look for entry in SplitRecord(splits).entries}
    report: Mapping[str, Any] = validate_data(
        scratch.folder / "photos",
        splits_file=splits,
        config=settings,
        existing_looks=recorded,
        cache_folder=scratch.folder.parent / "qa",
    )
    if report["status"] == "PASS":
        return report
    errors = [str(error).replace(f"{scratch.folder}/photos/", "") for error in report["errors"]]
    shown = "\n  ".join(errors[:10])
    more = f"\n  and {len(errors) - 10} more" if len(errors) > 10 else ""
    raise DataQualityError(
        f"The data check refuses the new files, {counted(len(errors), 'error')}; nothing was uploaded:\n"
        f"  {shown}{more}\n"
        f"See them as pictures: wms data check {INBOX} --html qa.html; many are mended by --fix."
    )


def _upload(store: S3Remote, photos: Path, new: list[tuple[InboxFile, NewFile]], version: DataSet, watch: Watch) -> Any:
    wanted = {exported.md5: photos / file.kind / file.name for file, exported in new}
    watch.step("upload")
    watch.say(f"Uploading up to {len(wanted)} files to {store.config.url} ...")
    manifests = {manifest.oid: manifest.content for _, manifest, _ in version}
    return store.upload({**wanted, **manifests})


def _published(scratch: Scratch, source: str, pairs: Sequence[NewPair], store: S3Remote) -> tuple[str | None, DataSet]:
    """Return the data branch that holds all of these pairs, and its version; else (None, an empty version).

    A branch made from another inbox isn't read, so that many open branches cost nothing. A branch whose tip names no
    inbox is read: a commit has been added on top.
    """
    for branch, commit in scratch.data_branches.items():
        told = trailers_of(scratch.git, commit).get(SOURCE.lower(), [])
        if told and source not in told:
            continue
        try:
            if inbox_files(scratch.git, commit):
                continue
            version = version_at(scratch.git, commit, store)
        except (DataQualityError, ManifestError, MissingBlobError, DamagedBlobError):
            continue  # another user's broken branch must not stop this push
        rest = plan_merge(version, pairs)
        if not rest.added and not rest.conflicts:
            return branch, version
    return None, DataSet()


def _push(scratch: Scratch, plan: MergePlan, base: str, sources: Iterable[str], commit: str) -> str:
    counts = f"{len(plan.added)} new photos" + (f", {len(plan.replaced)} replaced" if plan.replaced else "")
    named = "".join(f"{SOURCE}: {source}\n" for source in sources)
    message = f"Add data: {counts}\n\n{plan.summary}\n\n{named}Data-Commit: {commit}\n"
    message += f"{REPLACED}: {len(plan.replaced)}\n" if plan.replaced else ""
    author = author_of(scratch.git, commit) if scratch.git.commits(commit) != [None] else None
    made = commit_version(scratch.git, plan.result, [base], message, author=author)
    return push_new_branch(scratch, made)


def push_new_branch(scratch: Scratch, commit: str, *, suffix: str = "") -> str:
    """Push a commit as data/YYYYMMDD-HHMMSS (UTC), under a name that no branch has. Raises GitError, BusyError."""

    def attempt() -> str:
        branch = f"{DATA_BRANCHES}{datetime.now(UTC):%Y%m%d-%H%M%S}{suffix}"
        try:
            push(scratch.git, scratch.url, branch, commit, "")
        except GitError as error:
            there = remote_tip(scratch.git, scratch.url, branch)
            if there is None:
                raise
            if there != commit:  # the name changes with the second
                raise BusyError(f"Others push data branches all the time, such as {branch}; run this again.") from error
        if remote_tip(scratch.git, scratch.url, branch) != commit:
            raise GitError(f"{branch} isn't on the remote after its push; run this again.")
        return branch

    return insist(attempt, BusyError, tries=60)


def delete_branch(git: Git, url: str, branch: str, commit: str) -> None:
    """Delete a branch of photos from the remote if the branch is still at `commit`; a missing branch is fine.

    Raises GitError for a branch that moved on: its newer photos aren't merged yet.
    """
    if remote_tip(git, url, branch) is not None:
        push(git, url, branch, "", commit)
