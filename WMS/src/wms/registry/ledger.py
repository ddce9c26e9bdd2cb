"""The ledger of promotions in Git: a line for each, chained by hashes, and the newest entry in a file of its own.

The registry holds the same entries (`wms.registry.chain`); a clone that lacks some copies them from the registry.
"""

from __future__ import annotations

import codecs
import contextlib
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr

from wms import files
from wms.errors import LedgerError
from wms.paths import ROOT
from wms.records import StoredRecord
from wms.registry.gate_settings import GateSettings
from wms.registry.types import Means
from wms.regular import read_regular
from wms.start import run_renamed

FOLDER = ROOT / "WMS" / "models"
HISTORY, CURRENT = "production_history.jsonl", "production_current.json"
ANEW = "restore it from Git, or write it anew with `wms versions metadata`"
FIRST = "0" * 64
"""The `previous_hash` of the first entry."""


class LedgerRecord(StoredRecord):
    """A promotion or a rollback, not yet linked into the chain. Times are UTC, ISO 8601."""

    at: str
    who: str
    action: Literal["promote", "rollback"]
    from_version: int | None = Field(description="What was Production before; None where nothing was.")
    to_version: int
    run_id: str
    weights_sha256: str
    onnx_sha256: str
    metrics: Means
    baseline: Means = Field(description="The means of from_version on the same images; zeros where it is None.")
    verdict: str
    git_commit: str
    config_hash: str
    data_version: str
    training_data_count: int = Field(ge=0, description="Images of the training split.")
    trained_at: str = ""
    github_run: str = ""
    files: dict[str, str] = Field(
        default_factory=dict, description="SHA-256 of the card and of the run's own files, by name."
    )
    data_set_count: int | None = Field(
        default=None, ge=0, description="Images of the whole data set; None in entries of older code."
    )
    gate: GateSettings | None = Field(
        default=None,
        description="The settings behind the verdict; None in entries of older code and without a verdict.",
    )
    attempts: int | None = Field(
        default=None, ge=1, description="Seeds trained, of which validation chose this model; None: one."
    )
    verdict_sha256: str = Field(
        default="", description="SHA-256 of the gate's verdict in the log; empty without one, and in older entries."
    )
    verdict_log: tuple[str, ...] | None = Field(
        default=None,
        description="SHA-256 of the newest verdicts in the log then (gate_tries.py); None in entries of older code.",
    )


class LedgerEntry(LedgerRecord):
    """A record in the chain: `hash` covers all other fields, `previous_hash` is the hash of the entry before.

    Only `link` and `parse_entry` make entries. An entry keeps the line it was read from, because the hash covers
    fields of later versions too, and the absence of fields that were added later.
    """

    seq: int = Field(ge=1)
    previous_hash: str
    hash: str
    _line: str = PrivateAttr(default="")

    @property
    def line(self) -> str:
        """The entry's JSON text, byte for byte the same everywhere."""
        return self._line

    @property
    def page(self) -> str:
        """The content of production_current.json: the entry's own fields, also unknown ones, a line each."""
        return self.model_dump_json(indent=2, exclude_unset=True) + "\n"

    def follows(self, last: LedgerEntry | None) -> bool:
        """Whether the entry comes right after `last`; None stands for the ledger's beginning."""
        return (self.seq, self.previous_hash) == _place_after(last)

    @classmethod
    def of_line(cls, line: str, where: str) -> LedgerEntry:
        """Parse a line without checking its hash, which `parse_entry` does."""
        entry = cls.parse(line, where, LedgerError, "restore it from Git")
        entry._line = line
        return entry


def link(record: LedgerRecord, last: LedgerEntry | None) -> LedgerEntry:
    """Link `record` into the chain after `last`; None stands for the ledger's beginning."""
    seq, previous = _place_after(last)
    values = {**record.model_dump(mode="json", exclude={"hash"}), "seq": seq, "previous_hash": previous}
    line = files.canonical_json({**values, "hash": _hash(values)})
    return LedgerEntry.of_line(line, "The new entry")


def parse_entry(text: str, where: str) -> LedgerEntry:
    """Parse an entry from its stored line. Raises LedgerError, naming `where`, if the line is damaged or was changed.

    The hash covers the line itself without its field `hash`, whichever fields this version knows. A line is canonical
    JSON (`files.canonical_json`): an extra space or a doubled field counts as a change.
    """
    entry = LedgerEntry.of_line(text, where)
    values = files.parse_json(text)
    with contextlib.suppress(ValueError):  # a number that JSON doesn't know isn't what was written either
        if text == files.canonical_json(values) and values.pop("hash") == _hash(values):
            return entry
    raise LedgerError(f"{where} was changed after it was written: its hash doesn't fit; restore it from Git.")


def parse_history(content: bytes, where: str) -> tuple[LedgerEntry, ...]:
    """Parse the history's lines, oldest first; a torn last line, which a killed promotion leaves, isn't counted.

    A byte order mark and line ends of Windows, which editors and Git put in, are read over. Raises LedgerError naming
    `where` and the line that is damaged, changed, missing, doubled or out of order.
    """
    found: list[LedgerEntry] = []
    lines = content.removeprefix(codecs.BOM_UTF8).split(b"\n")
    torn = lines.pop()
    if lines and not torn and not files.is_json(lines[-1]):
        lines.pop()
    for number, line in enumerate(lines, start=1):
        place = f"{where}, line {number}"
        try:
            entry = parse_entry(line.decode().removesuffix("\r"), place)
        except UnicodeDecodeError as error:
            raise LedgerError(f"{where} can't be read ({error}); restore it from Git.") from error
        last = found[-1] if found else None
        if not entry.follows(last):
            after = f"entry {last.seq}" if last else "the ledger's beginning"
            raise LedgerError(f"{place} doesn't follow {after}; restore the file from Git.")
        found.append(entry)
    return tuple(found)


def values_of(content: bytes | str) -> dict[str, Any]:
    """A JSON object; empty for other content."""
    with contextlib.suppress(ValueError):
        if isinstance(values := files.parse_json(content), dict):
            return values
    return {}


def _hash(values: dict[str, Any]) -> str:
    """The hash of an entry's values, `hash` not among them."""
    return files.sha256_text(files.canonical_json(values))


def _place_after(last: LedgerEntry | None) -> tuple[int, str]:
    """`seq` and `previous_hash` of the entry after `last`."""
    return (last.seq + 1, last.hash) if last else (1, FIRST)


class Ledger:
    """The ledger's two files in `folder`; nothing is created before the first `append`."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder
        self.history, self.newest = folder / HISTORY, folder / CURRENT

    def entries(self) -> tuple[LedgerEntry, ...]:
        """All entries, oldest first.

        Raises LedgerError if an entry is damaged, changed, missing or doubled, or if the newest entry's own file tells
        of an entry that the history lost.

        >>> Ledger(Path("no-such-folder")).entries()
        ()
        """
        told = self._told()  # before the history, which a promotion going on writes first
        found = parse_history(self._history(), str(self.history))
        if len(found) < told:
            has = f"ends with entry {len(found)}" if found else "has no entry"
            other = f"entry {told}" if found else "one"
            raise LedgerError(
                f"{self.history} {has}, but {self.newest.name} beside it tells of {other}; restore both from Git, or "
                "run `wms restore`."
            )
        return found

    @property
    def torn(self) -> bool:
        """Whether the history ends in a part of a line, as a killed promotion leaves it; the next one removes it."""
        content = self._history()
        whole = content.endswith(b"\n") and files.is_json(content.rstrip(b"\n").rpartition(b"\n")[2])
        return bool(content) and not whole

    def current(self) -> LedgerEntry | None:
        """The newest entry, None before the first promotion. Raises LedgerError as `entries` does."""
        entries = self.entries()
        return entries[-1] if entries else None

    def _told(self) -> int:
        """The number of entries that production_current.json tells of: none without the file, 1 for a damaged file."""
        try:
            content = read_regular(self.newest)
        except (FileNotFoundError, NotADirectoryError):
            return 0
        except OSError:
            return 1
        try:
            return LedgerEntry.parse(content, str(self.newest), LedgerError, "restore it from Git").seq
        except LedgerError:
            return 1  # a promotion writes the file anew, so that damage to this file alone loses nothing

    def _history(self) -> bytes:
        """The history's bytes, with the last line's end where only an editor can have removed it."""
        try:
            content = read_regular(self.history)
        except (FileNotFoundError, NotADirectoryError):
            return b""
        except OSError as error:
            raise LedgerError(f"{self.history} can't be read ({error.strerror}); restore it from Git.") from error
        tail = content.rpartition(b"\n")[2]
        # production_current.json is written after the whole line is on the disk, so the line's end was there, too.
        told = values_of(tail) if tail else {}
        return content + b"\n" if told and told == values_of(self.page() or b"") else content

    def page(self) -> bytes | None:
        """The bytes of production_current.json; None without the file."""
        try:
            return read_regular(self.newest)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise LedgerError(f"{self.newest} can't be read ({error.strerror}): move it away; {ANEW}.") from error

    def append(self, record: LedgerRecord, *, step: Callable[[str], None] = lambda _: None) -> LedgerEntry:
        """Append a record, or an entry that follows the newest entry, and return the entry.

        Repeating the newest entry changes nothing. `step` is called with "history" and "current" after each file.
        Raises LedgerError for an entry that doesn't follow; DiskFullError, UnwritableError.
        """
        with self.locked():
            entries = self.entries()  # first, because a damaged last line must not be cut off like a torn one
            last = entries[-1] if entries else None
            self._end_last_line()
            files.cut_torn_tail(self.history)
            if isinstance(record, LedgerEntry) and last == record:
                self.write_current(record)
                return record
            own = record.line if isinstance(record, LedgerEntry) else None
            entry = link(record, last) if own is None else parse_entry(own, "The entry")
            if not entry.follows(last):
                predecessor = f"entry {last.seq}" if last else "the ledger's beginning"
                raise LedgerError(f"Entry {entry.seq} doesn't follow {predecessor} in {self.history}.")
            files.append_line(self.history, entry.line)
            step("history")
            self.write_current(entry)
            step("current")
            return entry

    def _end_last_line(self) -> None:
        """Put back the last line's end, where an editor has removed it: `cut_torn_tail` would cut off the entry."""
        if self._history() and self._history() != read_regular(self.history):
            files.append_line(self.history, "")

    def write_current(self, entry: LedgerEntry) -> None:
        """Write the entry to production_current.json; an equal file is left alone."""
        if not (self.newest.is_file() and self.newest.read_bytes() == entry.page.encode()):
            files.write_atomic(self.newest, entry.page)

    def locked(self) -> AbstractContextManager[None]:
        """Keep other processes of this machine from appending."""
        return files.exclusive_lock(self.folder / ".ledger.lock")


if __name__ == "__main__":
    sys.exit(run_renamed("wms.registry.ledger", "versions", "ledger"))
