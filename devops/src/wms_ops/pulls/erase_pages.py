"""The removal of erased photos' pictures from the branch of pull requests, together with that branch's history."""

from __future__ import annotations

import html
import re
from collections.abc import Collection
from pathlib import PurePosixPath
from typing import Final

from wms_ops.git.command import ZERO
from wms_ops.git.scratch import Scratch
from wms_ops.git.write import write_commit, write_tree
from wms_ops.pulls.file_branch import SHELF, FileBranch, push_again, push_first

TEXTS: Final = frozenset({".html", ".md", ".json"})
PICTURES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp"})


def erase_pages(scratch: Scratch, names: Collection[str]) -> list[str]:
    """Remove the pictures and gate pages of all pull requests whose texts name an erased photo; return their paths.

    The branch then begins anew with one commit, so that no older commit of it holds the pictures. Safe to repeat.
    Raises GitError, LostPushError.
    """

    def write() -> list[str]:
        git, files = scratch.git, FileBranch(scratch).look()
        texts = [path for path in files.names() if PurePosixPath(path).suffix in TEXTS]
        told = zip(texts, files.read(texts), strict=True)
        folders = {path.split("/")[0] for path, content in told if "/" in path and mentions(content, names)}
        gone = [path for path in files.names() if path.split("/")[0] in folders and shows_photos(path)]
        if not gone or files.commit is None:
            return []
        entries = (("0", ZERO, path) for path in gone)
        tree = write_tree(git, files.commit, entries, git.folder / "wms-pulls-index")
        commit = write_commit(git, tree, [], b"Pictures of erased photos are removed, with this branch's history\n")
        push_first(scratch, SHELF, commit, files.commit)
        return gone

    return push_again(write)


def mentions(content: bytes, names: Collection[str]) -> bool:
    """Return whether a page or a report names one of these photos, as a whole name.

    >>> [mentions(page, ["meter-1"]) for page in (b"<td>meter-1.jpg</td>", b"<td>meter-17.jpg</td>")]
    [True, False]
    """
    text = html.unescape(content.decode("utf-8", "replace"))
    return any(re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) for name in names)


def shows_photos(path: str) -> bool:
    """Return whether a file of a run's report may show photos: its pictures, and the gate's page.

    >>> shows_photos("12/pictures/better.png"), shows_photos("12/index.html")
    (True, False)
    """
    place = PurePosixPath(path)
    return place.suffix.lower() in PICTURES or place.name == "gate.html"
