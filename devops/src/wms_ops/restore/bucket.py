"""Brings deleted and overwritten objects of the bucket back from its former versions, each checked by hash."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Final

from wms.data.manifest import Manifest, Pointer, stem_of
from wms.errors import ManifestError
from wms.files import sha256_bytes, sha256_text
from wms.registry.anchors import anchor_of, name_of
from wms.registry.ledger import LedgerEntry
from wms.registry.lineage import ONNX, WEIGHTS
from wms.text import counted
from wms_ops.base.errors import DamagedBlobError, MissingBlobError, PipelineError
from wms_ops.base.layout import DATA_BRANCHES, ERASED, main_branch, pointer
from wms_ops.dataset.erased import FOLDER, Erasure, mark_of, tombstones
from wms_ops.dataset.versions import file_at, pointers_at
from wms_ops.gate.witnesses import FOLDER as ANCHORS
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
    """The files that a list of photos or masks in a branch names, by path; `is_main` for main's own lists."""

    where: str
    files: Mapping[str, str]
    is_main: bool


def plan_bucket(
    store: S3Remote, git: Git, model: str, entries: Sequence[LedgerEntry], artifacts: tuple[PastBucket, str] | None
) -> Plan:
    """Plan the return of the data set's objects, of models and their anchors, and of MLflow's files at `artifacts`.

    Raises the bucket's errors, ManifestError and GitError.
    """
    past = PastBucket(store.bucket)
    erased: dict[str, set[str]] = {}
    stones = store.config.inside(FOLDER)
    for one in _erasures(past, stones, git):
        for mark in one.marks:
            erased.setdefault(mark, set()).add(one.name)
    models = {
        store.config.inside(f"wms/models/{entry.weights_sha256}/{name}"): digest
        for entry in entries
        for name, digest in ((WEIGHTS, entry.weights_sha256), (ONNX, entry.onnx_sha256))
    } | {store.config.inside(f"{ANCHORS}/{model}/{name_of(one)}"): sha256_text(anchor_of(one)) for one in entries}
    look = _look(past, store.config.inside(""), models, erased.keys(), stones)
    lists = _Lists(store, past, git, look)
    lost = _lost_photos(lists, look, erased)
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
    # Another object may have been deleted on purpose.
    is_needed = bool(lost) or any(key in models or key.startswith(stones) for key in beyond)
    lost += [f"{key}: no version that the bucket keeps has the content that it should have." for key in beyond]

    def work(show: Show) -> Outcome:
        # Manifests last, as in an upload: a manifest promises that all of its files are stored.
        for manifests in (False, True):
            stage = [(where, move) for where, move in moves if move.key.endswith(".dir") == manifests]
            for _ in in_parallel(lambda one: one[0].bring_back(one[1].key, one[1].version), stage):
                pass
        show(f"bucket: {counted(len(moves), 'object')} copied from former versions.")
        return Outcome([f"{counted(len(moves), 'object')} of {store.config.url}."])

    notes = list(lists.notes)
    if store.versioning() != "Enabled":
        notes.append(f"s3://{store.config.bucket} keeps no versions, so an object that is deleted can't come back.")
    fault = MissingBlobError(f"Objects of {store.config.url} are lost, as is said above.") if is_needed else None
    return Plan("bucket", todo, work, lost, notes, fault)


def _erasures(past: PastBucket, stones: str, git: Git) -> Iterator[Erasure]:
    """Yield the tombstones in the bucket, and others of main: erased photos never come back.

    Of an object in the bucket its newest version counts that can be read. A data branch has no word: a person who may
    push one could let photos look erased.
    """
    known = set()  # these are newer: a content may be kept, or have lost its last user, since
    for history in past.histories(stones):
        found = (_tombstone(past.read(history.key, version)) for version in history.versions)
        if (stored := next(filter(None, found), None)) is not None:
            known.add(stored.name)
            yield stored
    for tip in _tips(git):
        if tip.is_main:
            told = tombstones(file_at(git, tip.commit, ERASED) or "")
            yield from (one for one in told if one.name not in known)


def _tombstone(content: bytes) -> Erasure | None:
    with contextlib.suppress(PipelineError):
        return Erasure.parse(content.decode("utf-8", "replace"), FOLDER, PipelineError, "")
    return None


def _look(
    past: PastBucket, prefix: str, hashes: Mapping[str, str], erased: Set[str], stones: str | None = None
) -> _Look:
    """Look at every object below a prefix; `hashes` are the SHA-256 of keys whose names don't tell a hash.

    Below `stones` lie tombstones, of which a version counts that can be read.
    """
    look = _Look()
    for history in past.histories(prefix):
        blob = _BLOB.search(history.key)
        md5 = f"{blob[1]}{blob[2]}" if blob else ""
        if not md5 and history.key.endswith(_DRAWN):
            continue
        is_stone = stones is not None and history.key.startswith(stones)
        check = (lambda content: _tombstone(content) is not None) if is_stone else _check(md5, hashes.get(history.key))
        chosen = _choose(past, history, check, md5)
        if chosen is None:
            # An object without a known hash is only deleted or there; a deleted one may have no version left.
            if md5 == "" and (history.key in hashes or is_stone or not history.present):
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


@dataclass(frozen=True)
class _Tip:
    """A branch of the clone or of the remote, by its short name, and its commit."""

    name: str
    commit: str
    is_main: bool


def _tips(git: Git) -> list[_Tip]:
    """Main and every data branch that the clone knows, here and of the remote; main first."""
    lines = git("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/remotes").splitlines()
    wanted = re.compile(rf"refs/(?:heads|remotes/[^/]+)/({re.escape(main_branch())}|{re.escape(DATA_BRANCHES)}.+)")
    tips = []
    for ref, _, commit in (line.partition(" ") for line in lines):
        if told := wanted.fullmatch(ref):
            name = ref.removeprefix("refs/").removeprefix("heads/").removeprefix("remotes/")
            tips.append(_Tip(name, commit, told[1] == main_branch()))
    return sorted(tips, key=lambda tip: (not tip.is_main, tip.name))


class _Lists:
    """The lists of photos and masks of main and the data branches, and sentences on those that are `lost`.

    `notes` are about data branches that nobody can read: they stop no restore.
    """

    def __init__(self, store: S3Remote, past: PastBucket, git: Git, look: _Look) -> None:
        self._store, self._past, self._look = store, past, look
        self.found, self.lost, self.notes = list[_Named](), dict[str, None](), dict[str, None]()
        self._moved = {move.key: move.version for move in look.moves}
        seen: set[str] = set()
        for tip in _tips(git):
            try:
                for kind, one in pointers_at(git, tip.commit).items():
                    if one.oid not in seen:
                        self._add(f"{kind} in {tip.name}", pointer(kind), tip, one)
                        seen.add(one.oid)
            except (ManifestError, MissingBlobError, DamagedBlobError) as error:
                if tip.is_main:
                    self.lost[f"Photos of {tip.name}: {error}"] = None
                else:
                    self.notes[f"{tip.name} is left out: {error}"] = None

    def _add(self, where: str, path: str, tip: _Tip, one: Pointer) -> None:
        if one.oid not in self._look.sound:
            self.lost[f"The list of {path} in {tip.name} ({one.oid}), and with it all names in it."] = None
            return
        key = self._store.config.key(one.oid)
        moved = self._moved.get(key)
        content = self._past.read(key, moved) if moved else self._store.read_manifest(one.oid)
        self.found.append(_Named(where, Manifest.parse(content, path).files, tip.is_main))


def _lost_photos(lists: _Lists, look: _Look, erased: Mapping[str, Set[str]]) -> list[str]:
    """Name the files of main and the data branches that no version of the bucket has, without erased ones.

    `erased` are the names of erased photos by mark. A content that main has under another name, such as a mask that two
    photos share, wasn't erased whatever its mark says, and is released. A data branch has no say: with an erased photo
    under a new name it would bring the photo back.
    """
    used = {
        md5
        for one in lists.found
        if one.is_main
        for path, md5 in one.files.items()
        if (names := erased.get(mark_of(md5))) and stem_of(path) not in names
    }
    for md5 in used:
        look.release(md5)
    lost = list(lists.lost)
    for one in lists.found:
        gone = [
            path
            for path, md5 in one.files.items()
            if md5 not in look.sound and (md5 in used or mark_of(md5) not in erased)
        ]
        if gone:
            lost.append(f"{counted(len(gone), 'file')} of {one.where}: {_shortened(gone)}.")
    return lost


def _shortened(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + more
