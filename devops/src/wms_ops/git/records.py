"""The records about Production in a clone, held against each other and against what Git has of them.

Witnesses are the ledger's history, production_current.json, model-metadata.json, and earlier contents of the history in
Git; the registry is another (`wms.registry.standing`). A cut that took several files along is known to the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath

from wms.errors import LedgerError, ModelDamagedError, WmsError
from wms.registry.ledger import Ledger, LedgerEntry
from wms.registry.metadata import metadata_fault, read_metadata
from wms.registry.page import sound_entries
from wms.settings import TrackingSettings
from wms_ops.base.layout import METADATA, MODELS
from wms_ops.git import records_mend as mend
from wms_ops.git.records_mend import History


@dataclass(frozen=True)
class Fault:
    """What is wrong with a clone's records, and the command that mends them; empty if Git holds no sound content."""

    error: WmsError
    mend: str

    @property
    def sentence(self) -> str:
        """One sentence: what is wrong, where, and the command in place of the error's own advice."""
        text = str(self.error)
        return f"{text.rpartition('; ')[0] or text.rstrip('.')}; `{self.mend}` mends it." if self.mend else text


def require_sound(folder: Path, *, asked: bool | None = None) -> tuple[LedgerEntry, ...]:
    """The entries of the ledger in `folder`, after all witnesses agreed.

    A ledger outside of a clone (not in WMS/models) has production_current.json as its only witness. Absent files are
    no fault where another ledger is `asked`, too: by default the registry's, if MLFLOW_TRACKING_URI names a registry.
    Raises LedgerError, or ModelDamagedError for model-metadata.json, each with the command that mends it.
    """
    repo = repo_of(folder)
    if repo is None:
        return sound_entries(Ledger(folder))
    asked = bool(TrackingSettings.read().mlflow_tracking_uri) if asked is None else asked
    if fault := find_fault(repo, asked=asked):
        raise type(fault.error)(fault.sentence)
    return Ledger(folder).entries()


def repo_of(folder: Path) -> Path | None:
    """The clone in whose WMS/models a ledger lies; None for another folder."""
    path = folder.absolute()
    parts = PurePath(MODELS).parts
    return path.parents[len(parts) - 1] if path.parts[-len(parts) :] == parts else None


def find_fault(repo: Path, *, asked: bool = False) -> Fault | None:
    """The gravest fault of a clone's records, None if all agree; `asked` says that another ledger is asked, too.

    Raises only the errors of the operating system.
    """
    ledger = Ledger(repo / MODELS)
    try:
        entries = ledger.entries()
    except LedgerError as error:
        return _of_ledger(repo, ledger, error)
    fault = _against_git(repo, ledger, entries, asked=asked) if entries or not asked else None
    if fault and ledger.entries() == entries:  # else a promotion went on, and was committed
        return fault
    if fault := _of_metadata(repo, ledger, asked=asked):
        return fault
    try:
        sound_entries(ledger)
    except LedgerError as error:
        return Fault(error, mend.page(repo, entries[-1]))
    return None


def require_history(folder: Path) -> None:
    """Raise LedgerError with the command that mends it for a ledger whose history can't be read."""
    ledger, repo = Ledger(folder), repo_of(folder)
    try:
        ledger.entries()
    except LedgerError as error:
        raise LedgerError(_of_ledger(repo, ledger, error).sentence if repo else str(error)) from error


def _of_ledger(repo: Path, ledger: Ledger, error: LedgerError) -> Fault:
    return Fault(error, mend.ledger(repo, ledger) or mend.elsewhere(ledger))


def _of_metadata(repo: Path, ledger: Ledger, *, asked: bool) -> Fault | None:
    path = repo / METADATA
    try:
        read_metadata(path, ledger)
    except LedgerError as error:  # a promotion that neither the ledger nor Git knows
        return Fault(error, mend.elsewhere(None))
    except ModelDamagedError as error:
        return Fault(error, mend.metadata(repo, ledger, str(error)))
    if asked or not (text := metadata_fault(path, ledger)):
        return None
    command = mend.metadata(repo, ledger, text) or mend.ledger(repo, ledger)
    named = bool(TrackingSettings.read().mlflow_tracking_uri)
    return Fault(ModelDamagedError(text), command or (mend.REGISTRY if named and path.is_file() else ""))


def _against_git(repo: Path, ledger: Ledger, entries: tuple[LedgerEntry, ...], *, asked: bool) -> Fault | None:
    """The fault of a history that Git knows with more entries, or with other ones.

    An earlier commit may have more where the files were taken back. It may be a pushed one that nobody reviewed, so
    it doesn't count where another ledger is `asked`; that one decides between different entries, too. A first entry
    that differs is of a new ledger, begun after the old registry was lost.
    """
    known = History.of(entries)
    has = f"ends with entry {len(entries)}" if entries else "has no entry"
    in_git = list(mend.histories(repo, commits=1 if asked else mend.RECENT))
    longer = [one for one in in_git if one.lines[: len(entries)] == known.lines and one.is_sound]
    if longer and len(best := max(longer, key=lambda one: len(one.lines)).lines) > len(entries):
        source = next(one for one in longer if one.lines == best)
        text = f"{ledger.history} {has}, but {source.where} has entry {len(best)}; restore it from Git."
        return Fault(LedgerError(text), source.restore(repo))
    committed = next((one for one in in_git[:2] if one.is_sound and one.lines and not asked), known)
    pairs = enumerate(zip(committed.lines, known.lines, strict=False), start=1)
    different = next((number for number, (theirs, ours) in pairs if theirs != ours), 1)
    if different > 1:
        text = f"Entry {different} of {ledger.history} isn't the one in {committed.where}; restore it from Git."
        return Fault(LedgerError(text), committed.restore(repo))
    return None
