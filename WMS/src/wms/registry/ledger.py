"""The ledger of promotions: one line for each, chained by hashes, in Git; and the newest one in a file of its own.

The registry holds the same entries (`wms.registry.chain`); a clone that lacks some catches up from there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from wms import files
from wms.errors import LedgerError, TrackingError, run_main
from wms.paths import ROOT
from wms.registry.types import Frozen, Means

FOLDER = ROOT / "WMS" / "models"
HISTORY, CURRENT = "production_history.jsonl", "production_current.json"
FIRST = "0" * 64
"""What stands for the hash before the first entry."""


class Record(Frozen):
    """A promotion or a rollback, before it has a place in the chain. Times are UTC, ISO 8601."""

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
    training_data_count: int = Field(ge=0)
    trained_at: str = ""
    github_run: str = ""
    files: dict[str, str] = Field(
        default_factory=dict, description="SHA-256 of the card and of the run's own files, by name."
    )


class LedgerEntry(Record):
    """A record in the chain: `hash` is over all other fields, `previous_hash` is the entry's before."""

    seq: int = Field(ge=1)
    previous_hash: str
    hash: str

    @property
    def line(self) -> str:
        """The one JSON text of this entry, byte for byte the same everywhere."""
        return files.canonical_json(self.model_dump(mode="json"))

    @property
    def own_hash(self) -> str:
        """What `hash` has to be."""
        return files.sha256_text(files.canonical_json(self.model_dump(mode="json", exclude={"hash"})))


def link(record: Record, last: LedgerEntry | None) -> LedgerEntry:
    """`record` as the entry after `last`, the first one where that is None."""
    values = record.model_dump(include=set(Record.model_fields))
    seq, previous = (last.seq + 1, last.hash) if last else (1, FIRST)
    draft = LedgerEntry(**values, seq=seq, previous_hash=previous, hash="")
    return draft.model_copy(update={"hash": draft.own_hash})


def parse_entry(text: str, where: str) -> LedgerEntry:
    """An entry from its JSON; raises LedgerError, naming `where`, if it is damaged or was changed."""
    try:
        entry = LedgerEntry.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the line"
        raise LedgerError(f"{where} is damaged: {field}: {first['msg']}; restore it from Git.") from error
    if entry.hash != entry.own_hash:
        raise LedgerError(f"{where} was changed after it was written: its hash doesn't fit; restore it from Git.")
    return entry


class Ledger:
    """The ledger's two files in `folder`; nothing is created before the first `append`."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder
        self.history, self.newest = folder / HISTORY, folder / CURRENT

    def entries(self) -> tuple[LedgerEntry, ...]:
        """All entries, oldest first. Raises LedgerError where one is damaged, changed, missing or doubled."""
        found: list[LedgerEntry] = []
        try:
            for number, value in files.read_json_lines(self.history):
                where = f"{self.history}, line {number}"
                entry = parse_entry(files.canonical_json(value), where)
                last = found[-1] if found else None
                if (entry.seq, entry.previous_hash) != ((last.seq + 1, last.hash) if last else (1, FIRST)):
                    after = f"entry {last.seq}" if last else "the ledger's beginning"
                    raise LedgerError(f"{where} doesn't follow {after}; restore the file from Git.")
                found.append(entry)
        except (TrackingError, UnicodeDecodeError, OSError) as error:
            raise LedgerError(f"{self.history} can't be read ({error}); restore it from Git.") from error
        return tuple(found)

    def current(self) -> LedgerEntry | None:
        """The newest entry, None before the first promotion. Raises LedgerError, also where the entries are gone."""
        entries = self.entries()
        if not entries and self.newest.exists():  # an entry goes into the history first
            raise LedgerError(
                f"{self.history} has no entry, but {self.newest.name} beside it tells of one; restore both from Git."
            )
        return entries[-1] if entries else None

    def append(self, record: Record, *, step: Callable[[str], None] = lambda _: None) -> LedgerEntry:
        """Append a record, or an entry that follows the newest one, and return the entry.

        Repeating the newest entry changes nothing. `step` hears "history" and "current" after each file. Raises
        LedgerError for an entry that doesn't follow; DiskFullError, UnwritableError.
        """
        with self.locked():
            entries = self.entries()  # first, because a damaged last line must not be cut off like a torn one
            last = entries[-1] if entries else None
            files.cut_torn_tail(self.history)
            if isinstance(record, LedgerEntry) and last == record:
                self.write_current(record)
                return record
            entry = link(record, last)
            if isinstance(record, LedgerEntry) and entry != record:
                place = f"entry {last.seq}" if last else "the ledger's beginning"
                raise LedgerError(f"Entry {record.seq} doesn't follow {place} in {self.history}.")
            files.append_line(self.history, entry.line)
            step("history")
            self.write_current(entry)
            step("current")
            return entry

    def write_current(self, entry: LedgerEntry) -> None:
        """Make production_current.json say what the entry says; an equal file is left alone."""
        text = entry.model_dump_json(indent=2) + "\n"
        if not (self.newest.is_file() and self.newest.read_bytes() == text.encode()):
            files.write_atomic(self.newest, text)

    def locked(self) -> AbstractContextManager[None]:
        """Keep other processes of this machine from appending."""
        return files.exclusive_lock(self.folder / ".ledger.lock")


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m wms.registry.ledger [FOLDER]`: check the chain and list it; 0 when it is sound."""
    parser = argparse.ArgumentParser(prog="python -m wms.registry.ledger", description="Check the ledger and list it.")
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help="where the ledger lies")
    entries = Ledger(parser.parse_args(argv).folder).entries()
    for entry in entries:
        before = "nothing" if entry.from_version is None else f"version {entry.from_version}"
        print(
            f"{entry.seq}. {entry.at} {entry.who}: {entry.action} from {before} to version {entry.to_version}, "
            f"Dice {entry.metrics.dice:.4f}, IoU {entry.metrics.iou:.4f} ({entry.verdict})"
        )
    print(f"The chain of {len(entries)} entries is sound.")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
