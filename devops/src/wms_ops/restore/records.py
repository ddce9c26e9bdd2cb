"""Rebuilds ledger, production_current.json and model-metadata.json from this clone, Git's history and the registry."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from wms.errors import LedgerError, ModelDamagedError
from wms.files import write_atomic
from wms.registry.chain import Chain
from wms.registry.ledger import CURRENT, HISTORY, Ledger, LedgerEntry
from wms.registry.metadata import metadata_fault, write_metadata
from wms.registry.recovery import Found, Recovery, Trust, entries_in, rebuild
from wms.text import counted
from wms_ops.base.layout import MODELS, main_branch
from wms_ops.git.command import Git
from wms_ops.restore.plan import Outcome, Plan, Show

KEPT: Final = "replaced"
"""The folder below .git/wms that keeps files as they were before a restore."""


def recover(ledger: Ledger, git: Git | None, chain: Chain, server: str, *, force: bool = False) -> Recovery:
    """Put together the ledger from all sources.

    Raises LedgerError where Git and the registry contradict each other, unless `force` lets the registry decide.
    """
    found = [*_in_files(ledger), *(_in_git(git) if git else ())]
    found += [Found(entry, f"the registry at {server}", Trust.REGISTRY) for entry in (*chain.entries, *chain.beyond)]
    recovery = rebuild(found)
    for one in recovery.rivals:
        if one.trust is Trust.GIT and not force:
            raise LedgerError(
                f"Entry {one.entry.seq} of the ledger in {one.where} isn't the one that the registry at {server} has, "
                "so nothing was changed; check that MLFLOW_TRACKING_URI names the registry of this project. "
                "`wms restore --force` lets the registry decide."
            )
    return recovery


def plan_records(ledger: Ledger, metadata: Path, git: Git | None, recovery: Recovery, *, force: bool = False) -> Plan:
    """Plan the three files as the rebuilt ledger has them; where entries are lost, nothing unless `force`.

    A ledger that ends earlier would make an earlier version Production.
    """
    head = recovery.entries[-1] if recovery.entries else None
    lost = []
    if recovery.beyond:
        first = recovery.beyond[0].seq
        before = "entry" if first - len(recovery.entries) == 2 else "entries"  # the gap before the first one beyond
        numbers = f"{len(recovery.entries) + 1}" + ("" if before == "entry" else f" to {first - 1}")
        lost.append(
            f"{before} {numbers} of the ledger, and with them what follows up to entry {recovery.beyond[-1].seq}: no "
            "source has them. Where another clone or the registry does, run this there, or set MLFLOW_TRACKING_URI."
        )
    todo = list(_changes(ledger, metadata, recovery, head)) if force or not lost else []

    def work(show: Show) -> Outcome:
        with ledger.locked():
            for path in (ledger.history, ledger.newest, metadata):
                _keep(path, git, show)
            if _content(ledger.history) != recovery.text.encode():
                write_atomic(ledger.history, recovery.text)
            if head is not None:
                ledger.write_current(head)
                write_metadata(head, metadata)
        told = f"the ledger with {counted(len(recovery.entries), 'entry')}, {CURRENT} and {metadata.name}"
        return Outcome([f"{told}; commit them."])

    fault = None
    if lost:
        done = "the files end with the last one before" if force else "the files were left as they are"
        more = "" if force else "; `wms restore --force` cuts them off after the last one before"
        fault = LedgerError(f"Entries of the ledger are lost, as is said above, and {done}{more}.")
    return Plan("records", todo, work, lost, fault=fault)


def _changes(ledger: Ledger, metadata: Path, recovery: Recovery, head: LedgerEntry | None) -> Iterator[str]:
    if head is None:
        return
    if _content(ledger.history) != recovery.text.encode():
        has = {found.entry.hash for found in _in_files(ledger, current=False)}
        new: dict[str, list[int]] = {}
        for entry, where in zip(recovery.entries, recovery.sources, strict=True):
            if entry.hash not in has:
                new.setdefault(where, []).append(entry.seq)
        whence = "; ".join(f"{_named(seqs)} from {where}" for where, seqs in new.items())
        yield f"{ledger.history} is written anew with {counted(len(recovery.entries), 'entry')}" + (
            f": {whence}." if whence else "."
        )
    if _content(ledger.newest) != head.page.encode():
        yield f"{ledger.newest} is written anew: version {head.to_version}."
    whole = _content(ledger.history) == recovery.text.encode()
    if not whole or _is_faulty(metadata, ledger, head):
        yield f"{metadata} is written anew: version {head.to_version}."


def _is_faulty(metadata: Path, ledger: Ledger, head: LedgerEntry) -> bool:
    with contextlib.suppress(LedgerError, ModelDamagedError):
        return bool(metadata_fault(metadata, ledger)) or f'"{head.at}"' not in metadata.read_text(encoding="utf-8")
    return True


def _named(numbers: Sequence[int]) -> str:
    return f"entry {numbers[0]}" if len(numbers) == 1 else f"entries {numbers[0]} to {numbers[-1]}"


def _in_files(ledger: Ledger, *, current: bool = True) -> Iterator[Found]:
    for path in (ledger.history, ledger.newest) if current else (ledger.history,):
        yield from entries_in(_content(path), str(path), Trust.FILES)


def _in_git(git: Git) -> Iterator[Found]:
    """Yield the entries in every version of the two files that main had, here or at a remote.

    No other branch or tag bears witness: a person who may push a data branch could write an entry whose hashes fit, and
    so make a model Production that no gate has seen.
    """
    if not git.ok("rev-parse", "--git-dir"):
        return
    paths = (f"{MODELS}/{HISTORY}", f"{MODELS}/{CURRENT}")
    patterns = (f"refs/heads/{main_branch()}", f"refs/remotes/*/{main_branch()}")
    tips = git("for-each-ref", "--format=%(objectname)", *patterns).split()
    commits = git("rev-list", "--full-history", *tips, "--", *paths).split() if tips else []
    seen: set[str] = set()
    for commit in commits:
        for _, blob, path in git.files(commit, *paths):
            if blob not in seen:
                seen.add(blob)
                (content,) = git.blobs([blob])
                yield from entries_in(content, f"commit {commit[:10]} ({path})", Trust.GIT)


def _content(path: Path) -> bytes:
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""


def _keep(path: Path, git: Git | None, show: Show) -> None:
    """Keep a file that is about to be replaced below .git/wms, where no commit takes it along."""
    if git is None or not (content := _content(path)):
        return
    done = git.attempt("rev-parse", "--absolute-git-dir")
    if done.returncode:
        return
    folder = Path(done.stdout.decode().strip()) / "wms" / KEPT
    folder.mkdir(parents=True, exist_ok=True)
    if _content(folder / path.name) != content:
        write_atomic(folder / path.name, content)
        show(f"{path.name} as it was is kept in {folder}.")
