"""Facts on disk, keyed by content, so that a file with known bytes isn't opened again.

The store is a SQLite file: looking up ten of 100,000 entries costs ten look-ups, several processes may share the file,
and committed facts survive a kill. The store is a cache: deleting the file only slows the next check.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from wms.data.qa.facts import VERSION, Fact, from_plain, to_plain
from wms.errors import DiskFullError, UnwritableError, from_os_error
from wms.files import parse_json
from wms.json_text import to_json

_CHUNK: Final = 500  # keys a query; SQLite allows 999 in its oldest builds
_WAIT_SECONDS: Final = 60.0


class FactStore:
    """The cache of facts and of passed pairs in `folder`. A context manager.

    Raises UnwritableError or DiskFullError if the folder or the file can't be used; a damaged file is replaced.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"facts-v{VERSION}.sqlite"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise from_os_error(error, folder) from error
        with self._sentences():
            try:
                self._database = self._connect()
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError:
                self.path.unlink()
                self._database = self._connect()

    def get(self, kind: str, keys: Iterable[str]) -> dict[str, Fact]:
        """The known facts of `kind` among `keys`."""
        found: dict[str, Fact] = {}
        for key, text in self._select(kind, list(keys)):
            # An unreadable entry costs only time: the file is read again.
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
                found[key] = from_plain(parse_json(text))
        return found

    def put(self, facts: Mapping[tuple[str, str], Fact]) -> None:
        """Store facts by (kind, key); they are on the disk when this method returns."""
        rows = [(kind, key, to_json(to_plain(fact))) for (kind, key), fact in facts.items()]
        with self._sentences(), self._database:
            self._database.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", rows)

    def passed(self, keys: Iterable[str]) -> set[str]:
        """Which of the pairs have passed an earlier check."""
        return {key for key, _ in self._select("passed", list(keys))}

    def mark_passed(self, keys: Iterable[str]) -> None:
        """Remember pairs that have passed."""
        with self._sentences(), self._database:
            rows = [("passed", key, "") for key in keys]
            self._database.executemany("INSERT OR IGNORE INTO facts VALUES (?, ?, ?)", rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, timeout=_WAIT_SECONDS)
        try:
            with database:
                database.execute(
                    "CREATE TABLE IF NOT EXISTS facts"
                    " (kind TEXT, key TEXT, fact TEXT, PRIMARY KEY (kind, key)) WITHOUT ROWID"
                )
        except BaseException:
            database.close()
            raise
        return database

    def _select(self, kind: str, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            marks = ",".join("?" * len(chunk))
            with self._sentences():
                # Only a number of question marks is put in; values go in as parameters.
                query = f"SELECT key, fact FROM facts WHERE kind = ? AND key IN ({marks})"  # noqa: S608 # nosec B608
                yield from self._database.execute(query, (kind, *chunk)).fetchall()

    @contextlib.contextmanager
    def _sentences(self) -> Iterator[None]:
        """Turn SQLite's errors into sentences."""
        try:
            yield
        except sqlite3.Error as error:
            if "full" in str(error):
                raise DiskFullError(f"No space left on the disk for the cache {self.path}; free some.") from error
            raise UnwritableError(
                f"Can't use the cache {self.path}: {error}; delete it, or choose another folder with --cache."
            ) from error
