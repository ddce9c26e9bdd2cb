"""production_current.json as a witness of the ledger: what a promotion wrote there, the history holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wms.errors import LedgerError
from wms.registry.ledger import ANEW, Ledger, LedgerEntry, values_of


def sound_entries(ledger: Ledger) -> tuple[LedgerEntry, ...]:
    """All entries of a ledger whose production_current.json is as a promotion wrote the file.

    The file holds the newest entry, or the one before where a promotion was killed between the two files. Raises
    LedgerError otherwise, as for a file that was edited, emptied, lost or taken back, and as `Ledger.entries` does.
    """
    while True:
        stored = ledger.page()  # before the history, which a promotion going on writes first
        entries = ledger.entries()
        fault = _fault(ledger, stored, entries)
        if not fault:
            return entries
        if ledger.page() == stored:  # else a promotion went on between the reads
            raise LedgerError(fault)


def lags(ledger: Ledger, entries: Sequence[LedgerEntry]) -> bool:
    """Whether a sound production_current.json is one entry behind: a promotion was killed between the two files."""
    return bool(entries) and values_of(ledger.page() or b"") != values_of(entries[-1].line)


def differing(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """The names of the fields in which two JSON objects differ; "its text" if they are equal.

    >>> differing({"who": "Ann", "at": 1, "seq": 2}, {"who": "Bob", "at": 3, "seq": 2})
    'who, at'
    """
    return ", ".join(_fields(found, wanted)) or "its text"


def _fields(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    return [name for name in {**wanted, **found} if found.get(name, ...) != wanted.get(name, ...)]


def _fault(ledger: Ledger, stored: bytes | None, entries: Sequence[LedgerEntry]) -> str:
    """The sentence about what is stored in production_current.json beside these entries; empty for a sound file."""
    path, history = ledger.newest, ledger.history
    known = [values_of(entry.line) for entry in entries]
    if not entries or (stored is None and len(entries) == 1):
        return ""
    last = entries[-1]
    if stored is None:
        return f"{path} is missing, but {history.name} has entry {last.seq}; {ANEW}."
    told = values_of(stored)
    if told in known:
        behind = told not in known[-2:]
        return f"{path} is about entry {told.get('seq')}, but {history.name} has entry {last.seq}; {ANEW}." * behind
    if not told:
        return f"{path} is damaged: it isn't a JSON object; {ANEW}."
    is_another = (told.get("to_version"), told.get("run_id")) != (last.to_version, last.run_id)
    if is_another and isinstance(told.get("at"), str) and told["at"] > last.at:
        return (
            f"{history} ends with entry {last.seq} of {last.at}, but {path.name} beside it tells of a promotion at "
            f"{told.get('at')}; restore both from Git, or run `wms restore`."
        )
    about = min(reversed(known), key=lambda one: len(_fields(told, one)))
    return f"{path} was changed by hand: in entry {about['seq']}, another value has {differing(told, about)}; {ANEW}."
