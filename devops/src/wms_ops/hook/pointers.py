"""Checks a push that changes main's data set: by content, and in the store, before the push goes on."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence

from wms.errors import ManifestError, WmsError
from wms.regular import read_regular
from wms_ops.base.errors import (
    AccessDeniedError,
    BucketNotFoundError,
    ClockSkewError,
    CredentialsExpiredError,
    CredentialsMissingError,
    DamagedBlobError,
    GitError,
    MissingBlobError,
    PushRefusedError,
    ShrinkError,
    StoreUnreachableError,
)
from wms_ops.base.layout import KINDS, main_branch, pointer
from wms_ops.dataset.losses import Read, common, refuse_losses
from wms_ops.dataset.publish import open_store, verify
from wms_ops.dataset.versions import dvc_config_at, pointers_at, version_at
from wms_ops.git.command import Git
from wms_ops.git.write import remote_tip
from wms_ops.hook.dry_run import is_dry_run
from wms_ops.hook.refs import PushedRef, same_data_set
from wms_ops.storage.remote import S3Remote

_UNASKED = (
    *(CredentialsMissingError, CredentialsExpiredError, AccessDeniedError),
    *(BucketNotFoundError, StoreUnreachableError, ClockSkewError),
)


def refuse_worse_data_set(git: Git, ref: PushedRef, url: str) -> None:
    """Let a push of pointers pass only if none of main's photos is lost and the store holds every file.

    Raises ShrinkError, MissingBlobError, ManifestError, StoreConfigError, GitError, and the store's error if the store
    doesn't answer: without a comparison nothing is pushed.
    """
    tip = git("rev-parse", f"{ref.local_commit}^{{commit}}")
    main = _main(git, ref, url)
    base = main if main is None or ref.to_main else common(git, main, tip)
    if base is not None and (same_data_set(git, base, tip) or _same_on_remote(git, ref, main or base, tip)):
        return
    target = ref.remote_name.split("/", 2)[-1]
    try:
        _compare(git, base, tip)
    except _UNASKED as error:
        raise type(error)(
            f"The push to {target} changes the pointers to the data set, so the store must be asked whether they are "
            f"sound, and nothing was pushed: {error}"
        ) from error
    except (ShrinkError, MissingBlobError) as error:
        raise type(error)(f"Nothing was pushed to {target}. {error}{_way_back(git, base, tip)}") from error


def _main(git: Git, ref: PushedRef, url: str) -> str | None:
    """Main's present commit on the remote; a missing commit is fetched, without moving any branch."""
    told = None if ref.creates else ref.remote_commit
    commit = told if ref.to_main else remote_tip(git, url, main_branch())
    if commit is None:
        return None
    if git.commits(commit) == [None]:
        if is_dry_run(git):
            raise PushRefusedError(
                f"The remote's {main_branch()} has commits that this clone lacks; run `git fetch`, then push again."
            )
        git(
            "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-gc", url, f"refs/heads/{main_branch()}"
        )
    if git.commits(commit) == [None]:
        raise GitError(f"The remote's {main_branch()} moved on during the push; push again.")
    return commit


def _same_on_remote(git: Git, ref: PushedRef, main: str, tip: str) -> bool:
    """Whether the remote's data branch already has the same pointers and the same merge base: then nothing changes."""
    if ref.to_main or git.commits(ref.remote_commit) == [None]:
        return False
    there = ref.remote_commit
    return same_data_set(git, there, tip) and common(git, main, there) == common(git, main, tip)


def _compare(git: Git, base: str | None, tip: str) -> None:
    pointers = pointers_at(git, tip)
    if not pointers and not (base and _names_data(git, base)):
        return  # a project that has no data set yet
    store = open_store(dvc_config_at(git, tip if pointers or base is None else base), git)
    stores = [store]
    if base is not None and _names_data(git, base):
        before = open_store(dvc_config_at(git, base), git)
        if before.config == store.config and pointers_equal(git, base, tip):
            return  # another line of .dvc/config
        # Main's own store has main's manifests, even if the pushed .dvc/config, not yet reviewed, names another store.
        stores = [before, store]
    read = _reader(git, stores)
    try:
        if base is not None:
            refuse_losses(git, _readable(git, base, read), tip, read)
        after = read(tip)
    except MissingBlobError as error:
        raise MissingBlobError(f"{error} Run `dvc push`, then push again.") from error
    if pointers:
        verify(store, after)


def pointers_equal(git: Git, one: str, other: str) -> bool:
    """Whether two commits have the same two .dvc files."""
    return git.ok("diff-tree", "--quiet", "-r", one, other, "--", *map(pointer, KINDS))


def _names_data(git: Git, commit: str) -> bool:
    return bool(git("ls-tree", "--full-tree", commit, "--", *map(pointer, KINDS)))


def _reader(git: Git, stores: Sequence[S3Remote]) -> Read:
    manifests = _Manifests(git, stores)
    return functools.cache(lambda commit: version_at(git, commit, manifests))


def _readable(git: Git, base: str, read: Read) -> str:
    """Return `base` or, if its data set can't be read any more, the newest earlier commit with a readable data set.

    Otherwise nobody could push main's former pointers back.
    """
    earlier = git("rev-list", "--first-parent", "--max-count=20", base, "--", *map(pointer, KINDS)).split()
    trouble: WmsError | None = None
    for commit in (base, *earlier):
        try:
            read(commit)
        except (MissingBlobError, DamagedBlobError, ManifestError) as error:
            trouble = trouble or error
            continue
        return commit
    raise trouble or GitError(f"The remote's {main_branch()} can't be read; run `git fsck`.")


class _Manifests:
    """Manifests from the stores, else from DVC's cache in this clone, to name the photos that would be lost."""

    def __init__(self, git: Git, stores: Sequence[S3Remote]) -> None:
        self._stores, self._cache = stores, git.folder / ".dvc" / "cache" / "files" / "md5"

    def read_manifest(self, oid: str) -> bytes:
        """The JSON bytes of the manifest `oid`. Raises MissingBlobError, and the stores' errors."""
        missing: MissingBlobError | None = None
        for store in self._stores:
            try:
                return store.read_manifest(oid)
            except MissingBlobError as error:
                missing = error
        try:
            content = read_regular(self._cache / oid[:2] / oid[2:])
        except OSError:
            content = b""
        if hashlib.md5(content, usedforsecurity=False).hexdigest() + ".dir" == oid:
            return content
        raise missing or MissingBlobError(f"The manifest {oid} is nowhere.")


def _way_back(git: Git, base: str | None, tip: str) -> str:
    """A command that reverts the change without harming uncommitted work: git refuses in that case."""
    if base is None or not git.ok("merge-base", "--is-ancestor", base, tip):
        return ""
    commits = git("rev-list", "--first-parent", f"{base}..{tip}", "--", *map(pointer, KINDS)).split()
    if not commits or len(commits) > 3 or any(len(git("rev-parse", f"{one}^@").split()) > 1 for one in commits):
        return ""
    return f" To take the pointers back: `git revert --no-edit {' '.join(one[:10] for one in commits)}`."
