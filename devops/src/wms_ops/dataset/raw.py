"""The way into the data set without keys to the bucket: a data branch of raw photos, which a workflow merges.

The order makes a kill safe at any point: the branch appears by one push of one commit, and a second run finds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wms_ops.base.errors import PushRefusedError
from wms_ops.base.layout import ERASED, INBOX, inbox
from wms_ops.dataset.erased import refuse_erased, tombstones
from wms_ops.dataset.inbox import InboxFile, export, inbox_files, pair_up
from wms_ops.dataset.losses import SOURCE
from wms_ops.dataset.plan import NewPair
from wms_ops.dataset.proofs import algorithm_of, blob_name, branch_naming, raw_branches, source_of
from wms_ops.dataset.publish import Watch, base_of, check_photos, push_new_branch
from wms_ops.dataset.settings import data_settings
from wms_ops.dataset.versions import file_at
from wms_ops.git.command import Git
from wms_ops.git.scratch import Scratch, scratch_clone
from wms_ops.git.write import write_commit, write_tree


@dataclass(frozen=True)
class RawPush:
    """The result for photos pushed without keys; `branch` holds them, or the data set that was made of them.

    `raw`: the branch holds the photos themselves, and waits for the workflow.
    """

    pairs: tuple[NewPair, ...]
    branch: str
    raw: bool = True
    repeated: bool = False  # the branch existed before this run
    warnings: tuple[str, ...] = ()
    places: int = 0  # photos whose place isn't pushed


def push_raw(git: Git, commit: str, url: str, watch: Watch | None = None) -> RawPush:
    """Check the inbox of `commit` and push it as it is to a new data branch, on top of the remote's main.

    The new commit holds main's files and these photos, no other change of `commit`. Conflicts with names in the data
    set can't be seen here. Raises DataQualityError, PairingError, PushRefusedError, GitError; after any of them the
    remote repository is as before, and another run is safe.
    """
    watch = watch or Watch()
    files = inbox_files(git, commit)
    if not files:
        raise PushRefusedError(f"Commit {commit[:10]} holds no photos in {INBOX}; there is nothing to merge.")
    watch.step("clone")
    with scratch_clone(git, url, depth=None) as scratch:
        base = base_of(scratch)
        watch.step("export")
        new = list(export(git, files, scratch.folder / "photos"))
        stones = tombstones(file_at(scratch.git, base, ERASED) or "")
        refuse_erased(stones, ((file.name, one.md5) for file, one in new if file.kind == "images"))
        pairs = pair_up([(file.kind, exported) for file, exported in new])
        source = source_of(git, commit)
        watch.step("blobs")
        blobs = _blobs(scratch, files)
        held = raw_branches(scratch, blobs)
        if there := next((branch for branch, paths in held.items() if paths == blobs.keys()), None):
            return RawPush(pairs, there, repeated=True)
        if there := branch_naming(scratch, source):
            return RawPush(pairs, there, raw=False, repeated=True)
        watch.step("check")
        report = check_photos(scratch, base, data_settings(scratch.git, base))
        watch.step("commit")
        made = _commit(scratch, base, blobs, f"{SOURCE}: {source}\nData-Commit: {commit}\n", len(pairs))
        watch.step("push")
        branch = push_new_branch(scratch, made)
        watch.step("done")
        places = sum(exported.place for _, exported in new)
        return RawPush(pairs, branch, warnings=tuple(report["warnings"]), places=places)


def _blobs(scratch: Scratch, files: Sequence[InboxFile]) -> dict[str, str]:
    """Return path -> Git object of the exported files; objects that differ from the commit's own are written."""
    algorithm = algorithm_of(scratch.git)
    found = {}
    for file in files:
        content = (scratch.folder / "photos" / file.kind / file.name).read_bytes()
        found[f"{inbox(file.kind)}/{file.name}"] = name = blob_name(content, algorithm)
        if name != file.blob:
            scratch.git("hash-object", "-w", "--stdin", data=content)
    return found


def _commit(scratch: Scratch, base: str, blobs: dict[str, str], named: str, count: int) -> str:
    entries = (("100644", blob, path) for path, blob in blobs.items())
    tree = write_tree(scratch.git, base, entries, scratch.folder / "index")
    message = f"Add photos: {count}\n\nPushed without keys to the bucket; a workflow merges them.\n\n{named}"
    return write_commit(scratch.git, tree, [base], message.encode())
