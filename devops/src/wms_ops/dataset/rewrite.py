"""Commits without their photos: each keeps its message, author, committer and dates; this module moves no branch."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wms_ops.base.layout import KINDS, inbox
from wms_ops.git.command import Git
from wms_ops.git.write import write_commit, write_tree

Photos = Mapping[str, tuple[str, str]]
"""Files of the inbox: path -> (mode, Git object)."""

# A signature covers the changed content, and so does a signed tag's copy in a merge.
_SIGNATURES = (b"gpgsig", b"gpgsig-sha256", b"mergetag")
# Only dates that git's variables can hold: a commit with another date, as before 1970, stays unsigned.
_PERSON = re.compile(rb"(.*) <(.*)> (\d+ [+-]\d{4})")


@dataclass
class Rewritten:
    """`tip` replaces the old tip; the other fields count commits and name the photos left out of them."""

    tip: str
    kept: int = 0  # commits of the branch that remain
    unsigned: int = 0  # that lost a signature
    photos: dict[str, tuple[str, str]] = field(default_factory=dict)  # in the old tip itself
    earlier: set[str] = field(default_factory=set)  # only in commits before it, or in another form


def photos_at(git: Git, commit: str) -> dict[str, tuple[str, str]]:
    """Return the inbox of a commit, without the files that keep its folders."""
    listed = git.files(commit, *map(inbox, KINDS))
    return {path: (mode, blob) for mode, blob, path in listed if not path.endswith("/.gitkeep")}


def rewrite(git: Git, tip: str, main: str, workspace: Path, *, sign: bool) -> Rewritten:
    """Write the commits of `tip` that `main` lacks anew, without the photos that the two didn't have in common.

    A commit that held only photos is left out; a commit without photos, on parents that stay, stays itself. The same
    commits give the same new ones, unless they are signed. `workspace` is a folder for temporary files. Raises
    GitError.
    """
    base = git.attempt("merge-base", tip, main).stdout.decode("ascii").strip()
    known = photos_at(git, base) if base else {}
    done = Rewritten(tip, photos=_foreign(photos_at(git, tip), known))
    work = _Work(git, known, workspace, sign, done)
    for commit in git("rev-list", "--reverse", "--topo-order", tip, f"^{main}").split():
        work.new[commit] = _without(work, commit)
    done.tip = work.new.get(tip, tip)
    done.kept = int(git("rev-list", "--count", done.tip, f"^{main}"))
    return done


@dataclass(frozen=True)
class _Work:
    git: Git
    known: Photos  # the photos that the branch and main had in common
    workspace: Path
    sign: bool
    done: Rewritten
    new: dict[str, str] = field(default_factory=dict)  # a commit and its replacement, itself or another


def _foreign(photos: Photos, known: Photos) -> dict[str, tuple[str, str]]:
    return {path: entry for path, entry in photos.items() if known.get(path) != entry}


def _without(work: _Work, commit: str) -> str:
    """Return the commit that replaces this one, whose parents are replaced already."""
    git = work.git
    (raw,) = git.blobs([commit])
    fields, message = _parsed(raw)
    before = [value.decode("ascii") for name, value in fields if name == b"parent"]
    parents = _reduced(git, before, [work.new.get(parent, parent) for parent in before])
    foreign = _foreign(photos_at(git, commit), work.known)
    if not foreign and parents == before:
        return commit
    work.done.earlier |= {path for path, entry in foreign.items() if work.done.photos.get(path) != entry}
    own = dict(fields)[b"tree"].decode("ascii")
    tree = _tree(work, own, foreign) if foreign else own
    # A commit that was empty before is the user's own and stays.
    was_empty = len(before) == 1 and git("rev-parse", f"{before[0]}^{{tree}}") == own
    if len(parents) == 1 and not was_empty and git("rev-parse", f"{parents[0]}^{{tree}}") == tree:
        return parents[0]
    if work.sign and all(_PERSON.fullmatch(dict(fields)[who]) for who in (b"author", b"committer")):
        return _signed(git, fields, message, tree, parents)
    work.done.unsigned += any(name in _SIGNATURES[:2] for name, _ in fields)
    head = [(b"tree", tree.encode()), *((b"parent", parent.encode()) for parent in parents)]
    head += [(name, value) for name, value in fields if name not in (b"tree", b"parent", *_SIGNATURES)]
    text = b"".join(name + b" " + value.replace(b"\n", b"\n ") + b"\n" for name, value in head)
    return git("hash-object", "-t", "commit", "-w", "--stdin", data=text + b"\n" + message)


def _parsed(raw: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return a commit's fields in their order, and its message, byte for byte."""
    header, _, message = raw.partition(b"\n\n")
    # A field goes on in lines that begin with a space; a NUL stands for such a line end meanwhile.
    fields = [line.partition(b" ") for line in header.replace(b"\n ", b"\0").split(b"\n")]
    return [(name, value.replace(b"\0", b"\n")) for name, _, value in fields], message


def _reduced(git: Git, before: Sequence[str], parents: list[str]) -> list[str]:
    """Return a merge's parents without those that have become ancestors of others."""
    if parents == before or len(parents) < 2:
        return parents
    heads = set(git("merge-base", "--independent", *parents).split())
    return [parent for parent in dict.fromkeys(parents) if parent in heads]


def _tree(work: _Work, tree: str, foreign: Photos) -> str:
    """Return the tree without these photos; photos that main had in common are as they were."""
    gone = ("0", "0" * len(tree))
    entries = ((*work.known.get(path, gone), path) for path in foreign)
    return write_tree(work.git, tree, entries, work.workspace / "index", missing_ok=True)


def _signed(git: Git, fields: list[tuple[bytes, bytes]], message: bytes, tree: str, parents: Sequence[str]) -> str:
    """Return the commit, signed as the user's commits are. Raises GitError for a failed signature."""
    environ: dict[str, str] = {}
    values = dict(fields)
    for who in ("author", "committer"):
        if person := _PERSON.fullmatch(values[who.encode()]):
            names = zip(("NAME", "EMAIL", "DATE"), person.groups(), strict=True)
            environ |= {f"GIT_{who.upper()}_{what}": os.fsdecode(value) for what, value in names}
            environ[f"GIT_{who.upper()}_DATE"] = f"@{environ[f'GIT_{who.upper()}_DATE']}"
    encoding = values.get(b"encoding", b"UTF-8").decode("ascii", "replace")
    return write_commit(git, tree, parents, message, "-S", environ=environ, encoding=encoding)
