"""The notes about data branches whose photos came back into the inbox, until a corrected push replaces the branch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from wms.files import parse_json, write_atomic
from wms.json_text import to_json
from wms.regular import read_regular
from wms_ops.git.command import Git

_NOTE = "returned.json"


@dataclass(frozen=True)
class Returned:
    """A data branch, its commit when its photos came back, and the photos' names without extension."""

    branch: str
    tip: str
    stems: frozenset[str]


def read_returned(git: Git) -> tuple[Returned, ...]:
    """Return the branches on record; none for a missing or damaged note."""
    try:
        found = parse_json(read_regular(_file(git)))
        return tuple(Returned(name, str(at["tip"]), frozenset(map(str, at["stems"]))) for name, at in found.items())
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return ()


def keep_returned(git: Git, one: Returned, there: Collection[str]) -> None:
    """Put a branch on record, in place of an earlier note of the branch; only notes of branches in `there` are kept.

    Raises UnwritableError, DiskFullError.
    """
    _write(git, {**{old.branch: old for old in read_returned(git) if old.branch in there}, one.branch: one})


def forget_returned(git: Git, branch: str) -> None:
    """Take a branch off the record."""
    _write(git, {old.branch: old for old in read_returned(git) if old.branch != branch})


def _write(git: Git, notes: Mapping[str, Returned]) -> None:
    write_atomic(_file(git), to_json({name: {"tip": at.tip, "stems": sorted(at.stems)} for name, at in notes.items()}))


def _file(git: Git) -> Path:
    return Path(git("rev-parse", "--path-format=absolute", "--git-common-dir")) / "wms" / _NOTE
