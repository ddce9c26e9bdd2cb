"""`wms data log` and `wms data revert`: the data set's pushes, and one of them taken back."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from wms.command import whole
from wms.data.kinds import SUFFIXES
from wms.data.manifest import stem_of
from wms.errors import ManifestError
from wms.names import tell
from wms_ops.base.errors import DamagedBlobError, DataConflictError, GitError, MissingBlobError
from wms_ops.base.layout import main_branch
from wms_ops.commands.data import Named, command, url_of
from wms_ops.dataset.history import Push, cache_of, history, nearest
from wms_ops.dataset.publish import open_store
from wms_ops.dataset.undo import revert
from wms_ops.dataset.versions import dvc_config_at, version_at
from wms_ops.git.command import Git
from wms_ops.git.scratch import Scratch, scratch_clone
from wms_ops.storage.remote import S3Remote


def _of_revert(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("push", metavar="PULL", help="number of a pull request, or a data branch or main's commit")


def _of_log(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="a photo (default: the last pushes)")
    parser.add_argument("--last", type=whole(1), default=10, metavar="N", help="how many pushes (default %(default)s)")


def _revert(git: Git, arguments: argparse.Namespace) -> Named:
    done = revert(git, url_of(git, arguments.remote), arguments.push)
    tell(f"{done.text} A run of the loop opens its pull request.")
    return {"branch": done.branch, "total": done.total}


def _log(git: Git, arguments: argparse.Namespace) -> Named:
    with scratch_clone(git, url_of(git, arguments.remote), depth=None) as scratch:
        if scratch.base is None:
            raise GitError(f"There is no branch {main_branch()} in the remote repository.")
        store = open_store(dvc_config_at(scratch.git, scratch.base), git)
        pushes = list(history(scratch.git, scratch.base, store, cache_of(git)))
        events = _events(pushes, arguments.name) if arguments.name else []
        if arguments.name and not events:
            tell(f"Waits on the branch {_waiting(scratch, store, arguments.name, pushes)}, which isn't merged.")
    if arguments.name is None:
        if not pushes:
            print("No push has changed the data set yet.")
        for push in pushes[: arguments.last]:
            tell(f"{_when(push)}  {_counts(push)}, by {push.by}")
        return {"pushes": len(pushes)}
    for push, did in events:
        tell(f"{_when(push)}  {did} by {push.by}")
    if gone := sum(push.change is None for push in pushes):
        print(f"{gone} older pushes can't be told: the bucket doesn't hold their manifests any more.")
    return {"events": len(events)}


def _events(pushes: Sequence[Push], name: str) -> list[tuple[Push, str]]:
    """Return what happened to a photo on main, newest first."""
    found = ([(push, did) for push in pushes if (did := push.did(stem))] for stem in _stems(name))
    return next((events for events in found if events), [])


def _waiting(scratch: Scratch, store: S3Remote, name: str, pushes: Sequence[Push]) -> str:
    """Return the data branch that brings a photo. Raises DataConflictError for a name that no branch brings."""
    for branch, tip in scratch.data_branches.items():
        with contextlib.suppress(ManifestError, MissingBlobError, DamagedBlobError):
            if version_at(scratch.git, tip, store).pairs.keys() & set(_stems(name)):
                return branch
    known = {one for push in pushes if push.change for one in (*push.change.added, *push.change.removed)}
    raise DataConflictError(f"No push ever brought a photo named {name!r}{nearest(_stems(name)[-1], known)}.")


def _stems(name: str) -> list[str]:
    """Return a name as given, and without the extension of a photo."""
    return [name] if Path(name).suffix.lower() not in SUFFIXES else [name, stem_of(Path(name).name)]


def _when(push: Push) -> str:
    return push.when[:16].replace("T", " ")


def _counts(push: Push) -> str:
    if push.change is None:
        return "unknown (the bucket doesn't hold its manifests any more)"
    counts = {"added": push.change.added, "replaced": push.change.replaced, "removed": push.change.removed}
    return ", ".join(f"{len(names)} {word}" for word, names in counts.items() if names) or "nothing changed"


REVERT: Final = command("Take the photos of one push out of the data set again, on a branch.", _revert, _of_revert)
LOG: Final = command("Show who brought a photo, when and by which pull request; newest first.", _log, _of_log)
