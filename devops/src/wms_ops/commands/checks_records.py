"""The check of `wms doctor` that finds edits by hand in the ledger, production_current.json and model-metadata.json."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from wms.errors import LedgerError
from wms.files import parse_json
from wms.registry.ledger import CURRENT, HISTORY, Ledger, LedgerEntry
from wms.registry.metadata import NOTHING_PROMOTED, metadata_fault, metadata_of
from wms.regular import read_regular
from wms_ops.base.layout import METADATA, MODELS
from wms_ops.commands.advice import remedy_in
from wms_ops.commands.finding import Finding, State
from wms_ops.git.command import Git

DAMAGED: Final = "mend the records first"
_NAME: Final = "records"
_COMMITS: Final = 50  # how far back a sound version of a file is searched


def check_records(repo: Path) -> Finding:
    """The files in Git that tell which model is Production: each field must be as a promotion wrote the field.

    A model-metadata.json that lags behind the ledger is fine as long as Git has the same content.
    """
    ledger = Ledger(repo / MODELS)
    try:
        entries = ledger.entries()
    except LedgerError as error:
        return Finding(
            _NAME, State.MISSING, str(error), _mend_ledger(repo, ledger) or _drop(repo, ledger) or remedy_in(str(error))
        )
    newest = entries[-1] if entries else None
    if fault := metadata_fault(repo / METADATA, ledger) or _edited(repo, newest):
        mend = _mend_metadata(repo, ledger) or ("" if newest else _mend_both(repo) or _drop(repo, ledger))
        return Finding(_NAME, State.MISSING, fault, mend or remedy_in(fault))
    if newest and (fault := _current_fault(ledger, newest)):
        page = newest.page
        mend = _restored(repo, f"{MODELS}/{CURRENT}", lambda content: _plain(content) == page)
        return Finding(_NAME, State.MISSING, fault, mend or "wms restore")
    text = f"version {newest.to_version} is Production" if newest else "no model was ever promoted"
    return Finding(_NAME, State.FINE, f"the ledger and the files about Production are as written: {text}")


def _current_fault(ledger: Ledger, newest: LedgerEntry) -> str:
    """The sentence about a production_current.json that isn't the newest entry; empty for a sound one."""
    try:
        found = _plain(read_regular(ledger.newest))
    except FileNotFoundError:
        return f"{ledger.newest} is missing, but {ledger.history.name} has entry {newest.seq}."
    except OSError as error:
        return f"{ledger.newest} can't be read ({error.strerror})."
    if found == newest.page:
        return ""
    fields = _differing(found, newest.page)
    return f"{ledger.newest} was changed by hand: in entry {newest.seq}, another value has {fields}."


def _edited(repo: Path, newest: LedgerEntry | None) -> str:
    """The sentence about a sound model-metadata.json that neither Git nor the newest promotion has written."""
    path = repo / METADATA
    found = _plain(read_regular(path))
    committed = _content(repo, f":{METADATA}")
    wanted = metadata_of(newest).text if newest else NOTHING_PROMOTED
    if committed is None or found in (wanted, _plain(committed)):
        return ""
    return f"{path} was changed by hand: in Git, another value has {_differing(found, _plain(committed))}."


def _differing(found: str, wanted: str) -> str:
    """The names of the fields in which two JSON objects differ, as in "who, at"; "its text" if they are equal."""
    here, there = _fields(found), _fields(wanted)
    names = [name for name in {**there, **here} if here.get(name, ...) != there.get(name, ...)]
    return ", ".join(names) or "its text"


def _fields(text: str) -> Mapping[str, Any]:
    try:
        values = parse_json(text)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _mend_metadata(repo: Path, ledger: Ledger) -> str:
    def is_sound(content: bytes) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / METADATA
            path.write_bytes(content)
            return not metadata_fault(path, ledger)

    return _restored(repo, METADATA, is_sound)


def _mend_ledger(repo: Path, ledger: Ledger) -> str:
    """The command that restores the history, or both files if production_current.json tells of a lost entry."""
    try:
        current = read_regular(ledger.newest)
    except OSError:
        current = b""
    history = f"{MODELS}/{HISTORY}"
    if mend := _restored(repo, history, lambda content: _is_chain(content, current)):
        return mend
    return _mend_both(repo)


def _mend_both(repo: Path) -> str:
    mend = _restored(repo, f"{MODELS}/{HISTORY}", lambda content: _is_chain(content, b""))
    return f"{mend} {MODELS}/{CURRENT}" if mend else ""


def _drop(repo: Path, ledger: Ledger) -> str:
    """The removal of a production_current.json that tells of no promotion, where neither Git nor the disk has more."""
    name = f"{MODELS}/{CURRENT}"
    try:
        tells = "hash" in _fields(_plain(read_regular(ledger.newest)))
    except OSError:
        return ""
    known = ledger.history.exists() or any(_content(repo, f":{MODELS}/{one}") is not None for one in (CURRENT, HISTORY))
    return "" if tells or known else f"rm {name}"


def _is_chain(history: bytes, current: bytes) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in ((HISTORY, history), (CURRENT, current)):
            if content:
                (Path(folder) / name).write_bytes(content)
        try:
            return bool(Ledger(Path(folder)).entries())
        except LedgerError:
            return False


def _restored(repo: Path, name: str, is_sound: Callable[[bytes], bool]) -> str:
    """The command that brings the newest sound content of a file back from Git; empty if Git has none."""
    staged = _content(repo, f":{name}")
    if staged is not None and is_sound(staged):
        return f"git restore {name}"
    told = Git(repo).attempt("rev-list", "--abbrev-commit", f"--max-count={_COMMITS}", "HEAD", "--", name)
    for commit in told.stdout.decode("ascii", "replace").split():
        content = _content(repo, f"{commit}:{name}")
        if content is not None and is_sound(content):
            return f"git restore --source={commit} --staged --worktree {name}"
    return ""


def _content(repo: Path, name: str) -> bytes | None:
    """The content of a file in Git's index (":file") or in a commit ("commit:file"); None if Git has none."""
    done = Git(repo).attempt("cat-file", "blob", name)
    return done.stdout if done.returncode == 0 else None


def _plain(content: bytes) -> str:
    """The text of a file with the line ends that were written; Git on Windows may have changed them."""
    return content.decode("utf-8", "replace").replace("\r\n", "\n")
