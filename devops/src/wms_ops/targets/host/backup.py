"""MLflow's database in the bucket: whole and verified before `latest.json` names it, and never older than the last.

    backup/ENV/LAUNCH/TIME.db.gz   a backup; the SHA-256 is in the object's metadata
    backup/ENV/latest.json         the name of the backup that counts

A backup that is killed half-way leaves at most an object without a name in `latest.json`. Of two launches the later
counts: an old instance that dies late keeps its last backup, but `latest.json` goes on naming the newer instance's.
"""

from __future__ import annotations

import contextlib
import gzip
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from wms.errors import DiskFullError, from_os_error
from wms.files import parse_json, sha256_file
from wms.formats import refuse_newer
from wms.records import StoredRecord
from wms_ops.base.errors import CloudError
from wms_ops.storage.bucket import Bucket

KEPT: Final = 12
"""How many backups stay; the bucket's versions keep deleted backups for longer."""

LATEST: Final = "latest.json"
_TRIES: Final = 5
_BUSY_S: Final = 30.0
_BLOCK: Final = 2**20


class BackupNote(StoredRecord):
    """latest.json: `key` of the backup that counts, its `sha256` and `size` in bytes, its time and launch."""

    key: str
    sha256: str
    size: int
    at: str
    launch_id: str


class OvertakenError(CloudError):
    """A newer launch has backed up already: this launch's copy is kept, but doesn't count."""


Stamp = tuple[tuple[int, int] | None, ...]


@dataclass
class Backups:
    """The backups of one environment, made by one of its launches from the file `database`.

    `show` hears sentences; `step`, for tests, the name of each step after its end. Copies are made in `scratch`, by
    default beside the database: its folder may be another user's, who could put a link in a copy's place. `give` hands
    a restored database over to that user.
    """

    objects: Bucket
    environment: str
    launch_id: str
    database: Path
    show: Callable[[str], None] = print
    step: Callable[[str], None] = lambda _: None
    scratch: Path | None = None
    give: Callable[[Path], None] = lambda _: None
    _saved: Stamp | None = field(default=None, repr=False)

    @property
    def prefix(self) -> str:
        """The prefix of all backups' keys."""
        return f"backup/{self.environment}/"

    def latest(self) -> BackupNote | None:
        """The backup that counts; None without a backup or with a damaged latest.json. Raises the store's errors."""
        return self._read()[0]

    def changed(self) -> bool:
        """Whether the database was written to since the last backup of this process."""
        return _stamp(self.database) != self._saved

    def save(self) -> BackupNote:
        """Back up, whether or not the database changed. Raises OvertakenError, CloudError, the store's errors."""
        stamp = _stamp(self.database)  # before the copy: a write during the backup counts as a change
        with self._scratch() as copy:
            _copy(self.database, copy)
            self.step("copied")
            packed = copy.with_suffix(".gz")
            _pack(copy, packed)
            self.step("packed")
            at = datetime.now(UTC)
            note = BackupNote(
                key=f"{self.prefix}{self.launch_id}/{at:%Y%m%d-%H%M%S-%f}.db.gz",
                sha256=sha256_file(packed),
                size=packed.stat().st_size,
                at=at.isoformat(timespec="seconds"),
                launch_id=self.launch_id,
            )
            self.objects.upload(note.key, packed, note.sha256)
            self.step("uploaded")
        facts = self.objects.facts(note.key)
        if facts is None or (facts.size, facts.sha256) != (note.size, note.sha256):
            raise CloudError(f"The store doesn't hold {note.key} as it was sent; the backup before it still counts.")
        self.step("verified")
        self._switch(note)
        self.step("switched")
        self._saved = stamp
        self._prune(note)
        self.step("pruned")
        return note

    def restore(self) -> BackupNote | None:
        """Restore the newest good backup unless a database, newer then, exists; returns None without a restore.

        Raises CloudError if none of the existing backups is good; the store's errors.
        """
        if self.database.exists():
            self.show("MLflow's database is here already; no backup is restored over it.")
            return None
        note = self.latest()
        keys = [key for key in reversed(self._keys()) if note is None or key != note.key]
        if note is None and not keys:
            self.show("There is no backup; MLflow starts with an empty database.")
            return None
        named = [note] if note is not None else []
        for number, candidate in enumerate([*named, *(self._note_of(key) for key in keys)]):
            problem = self._fetch(candidate)
            if problem is None:
                skipped = f", after {number} that are damaged" if number else ""
                self.show(f"MLflow's database is that of {candidate.at}, launch {candidate.launch_id}{skipped}.")
                self._saved = _stamp(self.database)
                return candidate
            self.show(f"The backup {candidate.key} {problem}; trying the one before it.")
        raise CloudError(
            f"None of the {len(keys) + len(named)} backups in s3://{self.objects.name}/{self.prefix} can be read, "
            "and an empty database would take their place; restore an earlier version of one of those objects, or "
            "move them away to start anew."
        )

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[Path]:
        """The name of a temporary file; files that a kill left are removed first."""
        folder = self.scratch or self.database.parent
        path = folder / "backup.tmp"

        def clean() -> None:
            for left_over in (path, path.with_suffix(".gz")):
                left_over.unlink(missing_ok=True)

        folder.mkdir(parents=True, exist_ok=True)
        clean()
        try:
            yield path
        finally:
            clean()

    def _keys(self) -> list[str]:
        return [key for key in self.objects.names(self.prefix) if key.endswith(".db.gz")]

    def _read(self) -> tuple[BackupNote | None, str | None]:
        found = self.objects.get(self.prefix + LATEST)
        if found is None:
            return None, None
        try:
            values = parse_json(found.content)
            refuse_newer(values, f"s3://{self.objects.name}/{self.prefix}{LATEST}", CloudError)
            return BackupNote.model_validate(values), found.etag
        except ValueError:
            self.show(f"{self.prefix}{LATEST} is damaged; looking for the newest backup without it.")
            return None, found.etag

    def _switch(self, note: BackupNote) -> None:
        for _ in range(_TRIES):
            current, etag = self._read()
            if current is not None and current.launch_id > self.launch_id:  # launch ids sort by time
                raise OvertakenError(
                    f"The newer launch {current.launch_id} has backed up MLflow's database already; this launch's last "
                    f"copy is kept as {note.key}, but doesn't count."
                )
            # The ETag makes this safe: after another instance's write S3 refuses, and the loop reads again.
            if self.objects.put_if(self.prefix + LATEST, note.model_dump_json().encode(), etag):
                return
        raise CloudError(f"{self.prefix}{LATEST} is changed by others again and again; look for a second instance.")

    def _prune(self, note: BackupNote) -> None:
        older = [key for key in self._keys() if key < note.key]
        self.objects.delete(older[: max(0, len(older) - (KEPT - 1))])

    def _note_of(self, key: str) -> BackupNote:
        """The note of a backup that `latest.json` doesn't name, from the object's metadata."""
        facts = self.objects.facts(key)
        launch_id, _, name = key.removeprefix(self.prefix).partition("/")
        size, sha256 = (facts.size, facts.sha256) if facts else (0, "")
        return BackupNote(key=key, sha256=sha256, size=size, at=name.removesuffix(".db.gz"), launch_id=launch_id)

    def _fetch(self, note: BackupNote) -> str | None:
        """Put a backup in the database's place; returns the reason of a failure in a few words."""
        with self._scratch() as plain:
            packed = plain.with_suffix(".gz")
            if not self.objects.download(note.key, packed):
                return "isn't there"
            if (packed.stat().st_size, sha256_file(packed)) != (note.size, note.sha256):
                return "isn't what was sent"
            try:
                with gzip.open(packed) as source, plain.open("wb") as target:
                    shutil.copyfileobj(source, target, _BLOCK)
                with contextlib.closing(sqlite3.connect(plain)) as database:
                    found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
            except (EOFError, gzip.BadGzipFile, sqlite3.DatabaseError):
                return "can't be unpacked"
            except OSError as error:
                raise from_os_error(error, plain) from error
            if found != "ok":
                return "holds a damaged database"
            self.step("fetched")
            self.give(plain)
            plain.replace(self.database)
        return None


def _copy(database: Path, target: Path) -> None:
    """Make a consistent copy, also during writes."""
    if database.is_symlink():  # only MLflow's user could have put it there, and this process reads more than that user
        raise CloudError(f"{database} is a link instead of MLflow's database; look at who has made it.")
    try:
        with (
            contextlib.closing(
                sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", timeout=_BUSY_S, uri=True)
            ) as source,
            contextlib.closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
    except sqlite3.Error as error:
        if "full" in str(error).lower():
            raise DiskFullError(f"No space left on the disk for a copy of {database}; free some.") from error
        raise CloudError(f"{database} can't be copied: {error}; look at MLflow's log.") from error


def _pack(source: Path, target: Path) -> None:
    try:
        with source.open("rb") as plain, gzip.open(target, "wb", compresslevel=6) as packed:
            shutil.copyfileobj(plain, packed, _BLOCK)
    except OSError as error:
        raise from_os_error(error, target) from error


def _stamp(database: Path) -> Stamp:
    """Size and time of change of the database and of SQLite's write-ahead log."""

    def of(path: Path) -> tuple[int, int] | None:
        try:
            status = path.stat()
        except FileNotFoundError:
            return None
        return status.st_size, status.st_mtime_ns

    return tuple(of(database.with_name(database.name + end)) for end in ("", "-wal"))
