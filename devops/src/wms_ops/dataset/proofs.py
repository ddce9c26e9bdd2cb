"""Proofs, from the remote repository alone, that photos reached the data set: blobs, and commits that name an inbox."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Final

from wms_ops.base.layout import DATA_BRANCHES, INBOX, KINDS, inbox, main_branch
from wms_ops.dataset.losses import SOURCE
from wms_ops.git.command import Git
from wms_ops.git.scratch import Scratch
from wms_ops.git.trailers import messages, trailers, trailers_of

_TREE: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def source_of(git: Git, commit: str) -> str:
    """Return the Git tree of a commit's inbox, the value of the trailer Data-Source. Raises GitError without one."""
    return git("rev-parse", f"{commit}:{INBOX}")


def sources_since(git: Git, base: str, commit: str) -> list[str]:
    """Return the inboxes that the commits of a data branch since `base` name, each once."""
    commits = git("rev-list", "--first-parent", f"{base}..{commit}").split()
    told = (trailers(message).get(SOURCE.lower(), []) for message in messages(git, commits))
    return list(dict.fromkeys(source for sources in told for source in sources if _TREE.fullmatch(source)))


def branch_naming(scratch: Scratch, source: str) -> str | None:
    """Return main, or else a data branch, with a commit whose trailer names this inbox; None if none does.

    `scratch` must have the whole history. Such a commit is made only once the store, or the commit's own branch, holds
    every photo of that inbox.
    """
    git, main = scratch.git, f"refs/there/{main_branch()}"
    wanted = ("--fixed-strings", f"--grep={source}", main, f"--glob=refs/there/{DATA_BRANCHES}*")
    for commit in git("rev-list", *wanted).split():
        if source in trailers_of(git, commit).get(SOURCE.lower(), []):
            listed = ("for-each-ref", f"--contains={commit}", "--format=%(refname:lstrip=2)")
            found = git(*listed, main, f"refs/there/{DATA_BRANCHES}").split("\n")
            return main_branch() if main_branch() in found else found[0]
    return None


def raw_branches(scratch: Scratch, wanted: Mapping[str, str]) -> dict[str, set[str]]:
    """Return for each data branch those of `wanted` (path -> Git object) that its tip holds itself."""
    folders = [inbox(kind) for kind in KINDS]
    return {
        branch: {path for _, blob, path in scratch.git.files(commit, *folders) if wanted.get(path) == blob}
        for branch, commit in scratch.data_branches.items()
    }


def blob_name(content: bytes, algorithm: str) -> str:
    """Return the name that Git gives to these bytes in a repository with this hash function.

    >>> blob_name(b"x", "sha1")
    'c1b0730e0133447badaf62d50aac94269e7f8b70'
    """
    return hashlib.new(algorithm, b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def algorithm_of(git: Git) -> str:
    """Return the hash function of a repository: sha1 or sha256."""
    return git("rev-parse", "--show-object-format")
