"""The history of the data set: each change of main's pointers, with who made it, when, and by which pull request."""

from __future__ import annotations

import difflib
import itertools
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from wms.data.manifest import Pointer, stem_of
from wms.errors import ManifestError, WmsError
from wms.files import parse_json, write_atomic
from wms.json_text import to_json
from wms.regular import read_regular
from wms_ops.base.errors import DamagedBlobError, DataConflictError, MissingBlobError
from wms_ops.base.layout import KINDS, pointer
from wms_ops.dataset.versions import Manifests, pointers_at
from wms_ops.git.command import Git
from wms_ops.git.trailers import BRANCH, NUMBER, messages, trailers

AUTHOR: Final = "Data-Author"
"""The trailer of main's commit that names who brought the photos; the commit itself is made by the loop."""

_NUMBER: Final = re.compile(r"\(#(\d+)\)\s*$|^Merge pull request #(\d+) ", re.MULTILINE)
_BRANCH: Final = re.compile(r"\bdata/[\w./-]*\w")
_AHEAD: Final = 8  # pairs of manifests that are fetched at a time
_WAYS: Final = {"-remove": "removed", "-revert": "reverted", "-erase": "erased"}

_REVERT: Final = re.compile(r'^Revert "|^This reverts (commit|pull request)|^Reverts ', re.MULTILINE)
_REVERTED: Final = re.compile(r"^This reverts commit ([0-9a-f]{7,64})|^Reverts [\w./-]*#(\d+)", re.MULTILINE)

_SAYING: Final = {"data-source", "data-removed", "data-replaced", "data-reverts"}

Files = Mapping[str, str]


@dataclass(frozen=True)
class Change:
    """The names that a commit of main added, replaced and removed."""

    added: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Push:
    """A commit of main that changed the data set. `change` is None where its manifests can't be read any more."""

    commit: str
    when: str
    author: str
    number: int | None
    branch: str
    title: str
    change: Change | None = None

    @property
    def by(self) -> str:
        """Who, by which pull request, in words."""
        way = f"pull request {self.number}" if self.number else f"commit {self.commit[:10]}"
        return f"{self.author}, {way}{f' ({self.branch})' if self.branch else ''}"

    def did(self, stem: str) -> str:
        """Return what the commit did to a photo, as a word; "" for nothing."""
        if self.change is None:
            return ""
        way = next((word for suffix, word in _WAYS.items() if self.branch.endswith(suffix)), "")
        if stem in self.change.removed:
            return way or "removed"
        if stem in self.change.replaced:
            return way or "replaced"
        return ("restored" if way == "reverted" else "added") if stem in self.change.added else ""


def commits_of(git: Git, main: str) -> list[Push]:
    """Return main's commits that changed the pointers, newest first, without reading any manifest."""
    listed = git("rev-list", "--first-parent", main, "--", *map(pointer, KINDS)).split()
    if not listed:
        return []
    about = git("rev-list", "--no-walk=unsorted", "--no-commit-header", "--format=%cI%x00%an", *listed).splitlines()
    pushes = []
    for commit, facts, message in zip(listed, about, messages(git, listed), strict=True):
        when, author = facts.split("\0", 1)
        told = trailers(message)
        title = message.partition("\n")[0]
        author = ", ".join(dict.fromkeys(told.get(AUTHOR.lower(), []))) or author
        pushes.append(Push(commit, when, author, _number(told, title), _branch(told, title), title))
    return pushes


def cache_of(git: Git) -> Path:
    """Return the file in which a clone keeps what was read once."""
    return Path(git("rev-parse", "--path-format=absolute", "--git-common-dir")) / "wms" / "data-log.json"


def history(git: Git, main: str, store: Manifests, cache: Path) -> Iterator[Push]:
    """Yield main's changes of the data set, newest first.

    Manifests are read once for each change: `cache`, a file, keeps the names. Raises the store's errors, but for
    manifests that are gone or damaged.
    """
    pushes = commits_of(git, main)
    pointers = [_pointers(git, push.commit) for push in pushes]
    keys = [_key(before, after) for after, before in zip(pointers, [*pointers, {}][1:], strict=True)]
    known = _read_cache(cache)
    missing = [place for place, key in enumerate(keys) if key not in known]
    try:
        for place, change in zip(missing, _changes(store, [*pointers, {}], missing), strict=True):
            known[keys[place]] = change
    finally:
        if missing:
            kept = {key: [list(part) for part in _parts(change)] for key, change in known.items() if change}
            write_atomic(cache, to_json(kept))
    for push, key in zip(pushes, keys, strict=True):
        yield replace(push, change=known.get(key))


def authors(git: Git, main: str, commit: str) -> list[str]:
    """Return who brought, replaced or removed photos on a data branch, each once."""
    commits = git("rev-list", "--first-parent", "--reverse", f"{main}..{commit}").split()
    told = (trailers(message).keys() for message in messages(git, commits))
    own = [one for one, keys in zip(commits, told, strict=True) if keys & _SAYING]
    line = ("rev-list", "--no-walk=unsorted", "--no-commit-header", "--format=%an", *own)
    return list(dict.fromkeys(git(*line).splitlines())) if own else []


def find_push(git: Git, main: str, what: str) -> Push:
    """Return the change that a pull request's number, a data branch or a commit names. Raises DataConflictError."""
    pushes = commits_of(git, main)
    number = what.removeprefix("#")
    if number.isdecimal():
        found = [push for push in pushes if push.number == int(number)]
    else:
        found = [push for push in pushes if push.branch == what]
    if not found and (commit := _commit(git, what)):
        found = [push for push in pushes if push.commit == commit]
    if not found:
        raise DataConflictError(
            f"Main's history has no change of the data set by {what!r}, so nothing was done: `wms data log` lists the "
            "last pull requests, branches and commits that changed it."
        )
    return found[0]


def revert_advice(git: Git, main: str, commit: str) -> str:
    """Return a sentence on `wms data revert` if `commit` looks like a revert of one of main's pushes; else "".

    Seen are `git revert` and GitHub's Revert button, by their messages, and pointers put back by hand, by the former
    pointers in main's history.
    """
    pushes = commits_of(git, main)
    own = git("rev-list", "--first-parent", f"{main}..{commit}").split()
    for message in messages(git, own):
        if not _REVERT.search(message):
            continue
        found = _REVERTED.search(message)
        sha, number = (found[1], found[2]) if found else (None, None)
        numbered = int(number) if number else _number({}, message.partition("\n")[0].rstrip('"'))
        for push in pushes:
            if (sha and push.commit.startswith(sha)) or (numbered is not None and push.number == numbered):
                return _advice(push)
    now = _pointers(git, commit)
    for push, older in itertools.pairwise(pushes):
        if now and _pointers(git, older.commit) == now:
            return _advice(push)
    return ""


def _advice(push: Push) -> str:
    name = push.number or push.branch or push.commit[:10]
    return (
        f" This looks like a revert of {push.by}: `wms data revert {name}` takes that push back, on a data branch of "
        "its own, and keeps what came later."
    )


def nearest(name: str, names: Iterable[str]) -> str:
    """Return a hint with the known names that look most like `name`; "" without any."""
    found = difflib.get_close_matches(name, sorted(set(names)), n=3, cutoff=0.5)
    return f"; the nearest names are {', '.join(found)}" if found else ""


def _commit(git: Git, what: str) -> str | None:
    done = git.attempt("rev-parse", "--verify", "--quiet", "--end-of-options", f"{what}^{{commit}}")
    return done.stdout.decode("ascii", "replace").strip() if done.returncode == 0 else None


def _number(told: Mapping[str, Sequence[str]], title: str) -> int | None:
    said = [number for number in told.get(NUMBER.lower(), []) if number.isdecimal() and len(number) < 10]
    if found := _NUMBER.search(title):
        said.append(found[1] or found[2])
    return int(said[0]) if said else None


def _branch(told: Mapping[str, Sequence[str]], title: str) -> str:
    if named := told.get(BRANCH.lower(), []):
        return named[0]
    found = _BRANCH.search(title)
    return found[0] if found else ""


def _pointers(git: Git, commit: str) -> dict[str, Pointer]:
    try:
        return pointers_at(git, commit)
    except ManifestError:
        return {}


def _key(before: Mapping[str, Pointer], after: Mapping[str, Pointer]) -> str:
    return "-".join(side[kind].oid if kind in side else "" for side in (before, after) for kind in KINDS)


def _changes(
    store: Manifests, pointers: Sequence[dict[str, Pointer]], places: Sequence[int]
) -> Iterator[Change | None]:
    """Yield the changes at these places, as they come; a few manifests at a time are fetched and held."""
    with ThreadPoolExecutor(_AHEAD) as pool:
        fetched: dict[int, Future[dict[str, Files] | None]] = {}
        waiting = deque(dict.fromkeys(place + step for place in places for step in (0, 1)))
        try:
            for place in places:
                while waiting and waiting[0] <= place + _AHEAD:
                    one = waiting.popleft()
                    fetched[one] = pool.submit(_files, store, pointers[one])
                yield _change(fetched[place + 1].result(), fetched[place].result())
                fetched = {one: future for one, future in fetched.items() if one > place}
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _files(store: Manifests, pointers: Mapping[str, Pointer]) -> dict[str, Files] | None:
    """Return the files of both manifests, without the checks that a data set in use gets; None if they are gone."""
    try:
        return {
            kind: {row["relpath"]: row["md5"] for row in parse_json(store.read_manifest(one.oid))}
            for kind, one in pointers.items()
        }
    except (MissingBlobError, DamagedBlobError, ValueError, TypeError, KeyError):
        return None


def _change(before: dict[str, Files] | None, after: dict[str, Files] | None) -> Change | None:
    if before is None or after is None:
        return None
    added, removed, touched = set[str](), set[str](), set[str]()
    for kind in KINDS:
        old, new = before.get(kind, {}), after.get(kind, {})
        gone = {stem_of(path) for path, _ in old.items() - new.items()}
        come = {stem_of(path) for path, _ in new.items() - old.items()}
        touched |= gone & come
        removed |= gone - come
        added |= come - gone
    touched |= added & removed
    return Change(*(tuple(sorted(names)) for names in (added - touched, touched, removed - touched)))


def _parts(change: Change) -> tuple[tuple[str, ...], ...]:
    return change.added, change.replaced, change.removed


def _read_cache(path: Path) -> dict[str, Change | None]:
    try:
        known: Any = parse_json(read_regular(path))
        return {key: Change(*map(tuple, parts)) for key, parts in known.items()}
    except (OSError, ValueError, TypeError, AttributeError, WmsError):
        return {}  # a cache: the manifests are read again
