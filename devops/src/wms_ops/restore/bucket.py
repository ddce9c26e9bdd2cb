"""Brings deleted and overwritten objects of the bucket back from its former versions, each checked by hash."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Final

from wms.data.manifest import Manifest, stem_of
from wms.errors import ManifestError
from wms.files import sha256_bytes
from wms.registry.ledger import LedgerEntry
from wms.registry.lineage import ONNX, WEIGHTS
from wms.text import counted
from wms_ops.base.errors import MissingBlobError
from wms_ops.base.layout import DATA_BRANCHES, ERASED, main_branch, pointer
from wms_ops.dataset.erased import Erasure, mark_of, read_erasures, tombstones
from wms_ops.dataset.versions import file_at, pointers_at
from wms_ops.git.command import Git
from wms_ops.restore.plan import Outcome, Plan, Show
from wms_ops.storage.past import KeyHistory, PastBucket, PastVersion
from wms_ops.storage.remote import S3Remote, in_parallel

_BLOB: Final = re.compile(r"files/md5/([0-9a-f]{2})/([0-9a-f]{30})(\.dir)?$")
_DRAWN: Final = (".html", ".jpeg", ".jpg", ".md", ".png", ".webp")
"""Ends of pages and pictures made from photos: a person may have deleted one because of an erased photo."""

_SHOWN: Final = 20


@dataclass(frozen=True)
class _Move:
    """A former version that becomes the present one."""

    key: str
    version: PastVersion


@dataclass
class _Look:
    """What a bucket has: the moves to be made, the contents that are sound or will be, and objects beyond help.

    `withheld` are contents with a tombstone's mark that the bucket still has, each with its move if it needs one.
    """

    moves: list[_Move] = field(default_factory=list)
    sound: set[str] = field(default_factory=set)
    beyond: list[str] = field(default_factory=list)
    withheld: dict[str, _Move | None] = field(default_factory=dict)

    def release(self, md5: str) -> None:
        """Take a withheld content as any other."""
        if md5 in self.withheld:
            self.sound.add(md5)
            if move := self.withheld.pop(md5):
                self.moves.append(move)


@dataclass(frozen=True)
class _Named:
    """The files that a list of photos or masks in a branch names, by path."""

    where: str
    files: Mapping[str, str]


def plan_bucket(
    store: S3Remote, git: Git, entries: Sequence[LedgerEntry], artifacts: tuple[PastBucket, str] | None
) -> Plan:
    """Plan the return of the data set's and the models' objects, and of MLflow's files at `artifacts`.

    Raises the bucket's errors, ManifestError and GitError.
    """
    past = PastBucket(store.bucket)
    erased: dict[str, set[str]] = {}
    for one in _erasures(store, git):
        for mark in one.marks:
            erased.setdefault(mark, set()).add(one.name)
    models = {
        store.config.inside(f"wms/models/{entry.weights_sha256}/{name}"): digest
        for entry in entries
        for name, digest in ((WEIGHTS, entry.weights_sha256), (ONNX, entry.onnx_sha256))
    }
    look = _look(past, store.config.inside(""), models, erased.keys())
    lost = _lost_photos(store, past, git, look, erased)
    moves = [(past, move) for move in look.moves]
    beyond = list(look.beyond)
    if artifacts is not None:
        other, prefix = artifacts
        models |= (known := _artifact_hashes(other, prefix, entries))
        theirs = _look(other, f"{prefix}/" if prefix else "", known, frozenset())
        moves += [(other, move) for move in theirs.moves]
        beyond += theirs.beyond
    todo = []
    if moves:
        verb = "comes" if len(moves) == 1 else "come"
        todo.append(f"{counted(len(moves), 'object')} {verb} back: {_shortened(move.key for _, move in moves)}.")
    is_needed = bool(lost) or any(key in models for key in beyond)  # else a person may have deleted it on purpose
    lost += [f"{key}: no version that the bucket keeps has the content that it should have." for key in beyond]

    def work(show: Show) -> Outcome:
        # Manifests last, as in an upload: a manifest promises that all of its files are stored.
        for manifests in (False, True):
            stage = [(where, move) for where, move in moves if move.key.endswith(".dir") == manifests]
            for _ in in_parallel(lambda one: one[0].bring_back(one[1].key, one[1].version), stage):
                pass
        show(f"bucket: {counted(len(moves), 'object')} copied from former versions.")
        return Outcome([f"{counted(len(moves), 'object')} of {store.config.url}."])

    notes = []
    if store.versioning() != "Enabled":
        notes.append(f"s3://{store.config.bucket} keeps no versions, so an object that is deleted can't come back.")
    fault = MissingBlobError(f"Objects of {store.config.url} are lost, as is said above.") if is_needed else None
    return Plan("bucket", todo, work, lost, notes, fault)


def _erasures(store: S3Remote, git: Git) -> tuple[Erasure, ...]:
    """The tombstones in the bucket and in Git: erased photos never come back."""
    stored = read_erasures(store)
    known = {one.name for one in stored}  # these are newer: a content may be kept, or have lost its last user, since
    told = [one for _, commit in _tips(git) for one in tombstones(file_at(git, commit, ERASED) or "")]
    return (*stored, *(one for one in told if one.name not in known))


def _look(past: PastBucket, prefix: str, hashes: Mapping[str, str], erased: Set[str]) -> _Look:
    """Look at every object below a prefix; `hashes` are the SHA-256 of keys whose names don't tell a hash."""
    look = _Look()
    for history in past.histories(prefix):
        blob = _BLOB.search(history.key)
        md5 = f"{blob[1]}{blob[2]}" if blob else ""
        if not md5 and history.key.endswith(_DRAWN):
            continue
        chosen = _choose(past, history, _check(md5, hashes.get(history.key)), md5)
        if chosen is None:
            # An object without a known hash is only deleted or there; a deleted one may have no version left.
            if md5 == "" and (history.key in hashes or not history.present):
                look.beyond.append(history.key)
            continue
        is_right = history.present and chosen is history.versions[0]
        move = None if is_right else _Move(history.key, chosen)
        if md5 and mark_of(md5) in erased:
            look.withheld[md5] = move
            continue
        if md5:
            look.sound.add(md5 + (blob[3] or "" if blob else ""))
        if move:
            look.moves.append(move)
    return look


def _check(md5: str, sha256: str | None) -> Callable[[bytes], bool] | None:
    if md5:
        return lambda content: hashlib.md5(content, usedforsecurity=False).hexdigest() == md5
    return (lambda content: sha256_bytes(content) == sha256) if sha256 else None


def _choose(
    past: PastBucket, history: KeyHistory, check: Callable[[bytes], bool] | None, md5: str
) -> PastVersion | None:
    """The newest version with the right content; where nothing tells the right content, the newest one."""
    for version in history.versions:
        if check is None or (md5 and version.md5 == md5):
            return version
        if (not md5 or version.md5 == "") and check(past.read(history.key, version)):
            return version
    return None


def _artifact_hashes(past: PastBucket, prefix: str, entries: Sequence[LedgerEntry]) -> dict[str, str]:
    """The SHA-256 of MLflow's files that the ledger knows, by key."""
    by_end: dict[str, str] = {}
    for entry in entries:
        known = {f"model/{WEIGHTS}": entry.weights_sha256, f"model/{ONNX}": entry.onnx_sha256}
        by_end |= {f"{entry.run_id}/artifacts/{name}": digest for name, digest in known.items()}
    found = {}
    for history in past.histories(f"{prefix}/" if prefix else ""):
        for end, digest in by_end.items():
            if history.key.endswith(end):
                found[history.key] = digest
    return found


def _tips(git: Git) -> list[tuple[str, str]]:
    """Name and commit of main and of every data branch that the clone knows, here and of the remote."""
    lines = git("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/remotes").splitlines()
    wanted = re.compile(rf"^refs/(heads|remotes/[^/]+)/({re.escape(main_branch())}|{re.escape(DATA_BRANCHES)}.+)$")
    pairs = (line.split(" ") for line in lines)
    return [(name, commit) for name, commit in pairs if wanted.match(name)]


def _lost_photos(store: S3Remote, past: PastBucket, git: Git, look: _Look, erased: Mapping[str, Set[str]]) -> list[str]:
    """Name the files of main and the data branches that no version of the bucket has, without erased ones.

    `erased` are the names of erased photos by mark. A content that a branch has under another name, such as a mask that
    two photos share, wasn't erased whatever its mark says, and is released.
    """
    lists, lost = _lists(store, past, git, look)
    used = {
        md5
        for one in lists
        for path, md5 in one.files.items()
        if (names := erased.get(mark_of(md5))) and stem_of(path) not in names
    }
    for md5 in used:
        look.release(md5)
    for one in lists:
        gone = [
            path
            for path, md5 in one.files.items()
            if md5 not in look.sound and (md5 in used or mark_of(md5) not in erased)
        ]
        if gone:
            lost.append(f"{counted(len(gone), 'file')} of {one.where}: {_shortened(gone)}.")
    return lost


def _lists(store: S3Remote, past: PastBucket, git: Git, look: _Look) -> tuple[list[_Named], list[str]]:
    """Return the lists of photos and masks of main and the data branches, and sentences on those that are lost."""
    read = {move.key: move.version for move in look.moves}
    found, lost, seen = list[_Named](), dict[str, None](), set[str]()
    for name, commit in _tips(git):
        for kind, one in pointers_at(git, commit).items():
            if one.oid in seen:
                continue
            seen.add(one.oid)
            short = name.removeprefix("refs/").removeprefix("heads/").removeprefix("remotes/")
            if one.oid not in look.sound:
                lost[f"The list of {pointer(kind)} in {short} ({one.oid}), and with it all names in it."] = None
                continue
            key = store.config.key(one.oid)
            content = past.read(key, read[key]) if key in read else store.read_manifest(one.oid)
            try:
                found.append(_Named(f"{kind} in {short}", Manifest.parse(content, pointer(kind)).files))
            except ManifestError as error:
                lost[str(error)] = None
    return found, list(lost)


def _shortened(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + more
