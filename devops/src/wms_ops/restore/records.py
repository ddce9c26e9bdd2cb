"""Rebuilds ledger, production_current.json and model-metadata.json from this clone, Git's history and the registry."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from wms.errors import LedgerError, ModelDamagedError
from wms.files import write_atomic
from wms.registry.chain import Chain
from wms.registry.ledger import CURRENT, HISTORY, Ledger, LedgerEntry
from wms.registry.metadata import metadata_fault, write_metadata
from wms.registry.mlflow_store import ModelVersion
from wms.registry.plan import ENTRY_NUMBER
from wms.registry.recovery import Found, Recovery, Trust, entries_in, rebuild
from wms.registry.standing import unvouched
from wms.regular import read_regular
from wms.text import counted
from wms_ops.base.layout import MODELS, main_branch
from wms_ops.git.command import Git
from wms_ops.restore.plan import Outcome, Plan, Show

KEPT: Final = "replaced"
"""The folder below .git/wms that keeps files as they were before a restore."""


def recover(
    ledger: Ledger,
    git: Git | None,
    chain: Chain,
    server: str,
    versions: Callable[[], Sequence[ModelVersion]] = tuple,
    *,
    force: bool = False,
) -> Recovery:
    """Put together the ledger from all sources; `versions` returns those that the registry has.

    Raises LedgerError where Git and the registry contradict each other, unless `force` lets the registry decide; and
    for an entry that only this clone's files have, although the registry knows others, unless `force` believes it.
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
    if recovery.unproven and not force:
        _refuse_unproven(recovery, chain, server, versions())  # versions after the files, which a promotion writes last
    return recovery


def _refuse_unproven(recovery: Recovery, chain: Chain, server: str, versions: Sequence[ModelVersion]) -> None:
    """Raise LedgerError for entries that neither main nor a registry that wasn't lost tells of."""
    is_kept = bool(chain.entries or chain.beyond) or any(ENTRY_NUMBER in version.tags for version in versions)
    entries = unvouched(versions, recovery.unproven)
    if not is_kept or not entries:
        return
    before = next((one.to_version for one in reversed(recovery.entries) if one.seq < entries[0].seq), None)
    last = entries[-1].to_version
    changed = f", and Production would change from version {before} to version {last}" if before != last else ""
    where = recovery.sources[recovery.entries.index(entries[-1])]
    is_one = len(entries) == 1
    names, verb, pronoun = ("Entry", "is", "it") if is_one else ("Entries", "are", "them")
    raise LedgerError(
        f"{names} {_joined(map(told, entries))} {verb} in {where} alone: neither {main_branch()} in this clone nor the "
        f"registry at {server} knows {pronoun}{changed if before else ''}, so nothing was changed. `git restore "
        f"{MODELS}` takes {pronoun} out, `git pull` brings what {main_branch()} has by now; `wms restore --force` "
        f"believes {pronoun}."
    )


def told(entry: LedgerEntry) -> str:
    """An entry for a sentence: number, version, who made it and when."""
    return f"{entry.seq} (version {entry.to_version}, {made(entry)})"


def made(entry: LedgerEntry) -> str:
    """Who made an entry and when, for a sentence."""
    return f"{'promoted' if entry.action == 'promote' else 'rolled back to'} by {entry.who} at {entry.at}"


def _joined(parts: Iterable[str]) -> str:
    *others, last = parts
    return f"{', '.join(others)} and {last}" if others else last


def plan_records(ledger: Ledger, metadata: Path, git: Git | None, recovery: Recovery, *, force: bool = False) -> Plan:
    """Plan the three files as the rebuilt ledger has them; where entries are lost, nothing unless `force`.

    A ledger that ends earlier would make an earlier version Production. Raises LedgerError for a file that can't be
    read.
    """
    _content(metadata)
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
        has = {found.entry.hash for found in _in_history(ledger)}
        new: dict[str, list[LedgerEntry]] = {}
        for entry, where in zip(recovery.entries, recovery.sources, strict=True):
            if entry.hash not in has:
                new.setdefault(where, []).append(entry)
        whence = "; ".join(f"{_named(entries)} from {where}" for where, entries in new.items())
        yield f"{ledger.history} is written anew with {counted(len(recovery.entries), 'entry')}" + (
            f": {whence}." if whence else "."
        )
    if _content(ledger.newest) != head.page.encode():
        was = next((one.entry.to_version for one in _in_page(ledger)), head.to_version)
        told_change = f" Production changes from version {was} to version {head.to_version}."
        yield (
            f"{ledger.newest} is written anew: version {head.to_version}, by entry {told(head)}."
            f"{told_change if was != head.to_version else ''}"
        )
    whole = _content(ledger.history) == recovery.text.encode()
    if not whole or _is_faulty(metadata, ledger, head):
        yield f"{metadata} is written anew: version {head.to_version}."


def _is_faulty(metadata: Path, ledger: Ledger, head: LedgerEntry) -> bool:
    with contextlib.suppress(LedgerError, ModelDamagedError):
        return bool(metadata_fault(metadata, ledger)) or f'"{head.at}"' not in metadata.read_text(encoding="utf-8")
    return True


def _named(entries: Sequence[LedgerEntry]) -> str:
    first, last = entries[0], entries[-1]
    return f"entry {told(first)}" if first is last else f"entries {first.seq} to {told(last)}"


def _in_files(ledger: Ledger) -> Iterator[Found]:
    yield from _in_history(ledger)
    yield from _in_page(ledger)


def _in_history(ledger: Ledger) -> Iterator[Found]:
    return entries_in(_content(ledger.history), str(ledger.history), Trust.FILES)


def _in_page(ledger: Ledger) -> Iterator[Found]:
    return entries_in(_content(ledger.newest), str(ledger.newest), Trust.FILES)


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
    """The content of a record, empty without the file. Raises LedgerError for a path that is no readable file."""
    try:
        return read_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        if not path.is_symlink():
            return b""
        fault = "is a link to nothing"
    except OSError as error:
        fault = f"can't be read ({error.strerror})"
    raise LedgerError(f"{path} {fault}, so nothing was changed; move it away, then run `wms restore` again.")


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
