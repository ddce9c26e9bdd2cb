"""The commands that mend a clone's records about Production, from the contents that Git has of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Final, Self

from wms.errors import LedgerError
from wms.registry.ledger import CURRENT, HISTORY, Ledger, LedgerEntry, parse_history, values_of
from wms.registry.metadata import metadata_fault
from wms.registry.recovery import Trust, entries_in, rebuild
from wms.regular import read_regular
from wms.settings import TRACKING_URI, TrackingSettings
from wms_ops.base.errors import GitError
from wms_ops.base.layout import METADATA, MODELS
from wms_ops.git.command import Git

REGISTRY: Final = "wms restore"
ANEW: Final = "wms versions metadata"
_FILES: Final = tuple(f"{MODELS}/{name}" for name in (HISTORY, CURRENT))
RECENT: Final = 10  # how many commits of the history are compared with the file each time
_COMMITS: Final = 50  # how far back a sound version of a file is searched


@dataclass(frozen=True)
class History:
    """The lines of a ledger's history, here or in Git; `commit` is empty for Git's index."""

    lines: tuple[str, ...]
    commit: str = ""

    @classmethod
    def of(cls, entries: Sequence[LedgerEntry]) -> Self:
        return cls(tuple(entry.line for entry in entries))

    @property
    def where(self) -> str:
        """The name of the place in Git, in sentences."""
        return f"commit {self.commit}" if self.commit else "Git"

    @cached_property
    def is_sound(self) -> bool:
        """Whether the lines are a chain."""
        try:
            parse_history("".join(f"{line}\n" for line in self.lines).encode(), self.where)
        except LedgerError:
            return False
        return True

    def restore(self, repo: Path) -> str:
        """The command that brings both files of the ledger back from here."""
        present = [name for name in _FILES if content_of(repo, self.commit, name) is not None]
        return _restore(self.commit, *present)


def histories(repo: Path, *, commits: int) -> Iterator[History]:
    """The ledger's history in Git's index and in the newest commits that changed the file, newest first."""
    for commit in ("", *_commits(repo, _FILES[0], commits)):
        content = content_of(repo, commit, _FILES[0])
        if content is not None:
            yield History(tuple(plain(content).removeprefix("\ufeff").splitlines()), commit)


def ledger(repo: Path, found: Ledger) -> str:
    """The command that restores the history, or both files if production_current.json tells of a lost entry.

    Where neither Git nor the disk has an entry, the removal of a production_current.json that tells of none.
    """
    try:
        current = read_regular(found.newest)
    except OSError:
        current = b""
    for told in (current, b""):
        if mend := _restored(repo, _FILES[0], partial(_is_chain, current=told)):
            return mend if told or not current else f"{mend} {_FILES[1]}"
    known = found.history.exists() or any(content_of(repo, "", one) is not None for one in _FILES)
    return "" if "hash" in values_of(current) or known or not current else f"rm {_FILES[1]}"


def elsewhere(found: Ledger | None) -> str:
    """The command that rebuilds a ledger of which Git has no sound content; None: its files lack the entries, too.

    Only the registry has entries that neither file of the ledger holds, so its address belongs to the command then.
    """
    if TrackingSettings.read().mlflow_tracking_uri or (found and _holds_all(found)):
        return REGISTRY
    return f"{TRACKING_URI}=ADDRESS {REGISTRY}"


def _holds_all(found: Ledger) -> bool:
    """Whether the damaged history and production_current.json together still have all entries up to the latter's."""
    try:
        page = found.page() or b""
        content = read_regular(found.history) if found.history.exists() else b""
        both = ((found.history, content), (found.newest, page))
        rebuilt = rebuild([one for path, text in both for one in entries_in(text, str(path), Trust.FILES)])
    except (LedgerError, OSError):
        return False
    return bool(rebuilt.entries) and plain(page) == rebuilt.entries[-1].page


def metadata(repo: Path, found: Ledger, text: str = "") -> str:
    """The command that restores model-metadata.json for the ledger's newest entry.

    That is another file than Git's where the newest promotion isn't committed yet: the file is written anew then, if
    the sentence about the fault, `text`, says that this helps. Empty where neither helps.
    """
    newest = found.current()

    def is_sound(content: bytes) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / METADATA
            path.write_bytes(content)
            return not metadata_fault(path, found) and (newest is None or is_about(content, newest))

    return _restored(repo, METADATA, is_sound) or (
        ANEW if newest and ANEW in text and not (repo / METADATA).is_dir() else ""
    )


def is_about(content: bytes, newest: LedgerEntry) -> bool:
    """Whether a model-metadata.json is about the promotion of this entry."""
    told = values_of(content)
    return (told.get("model_version"), told.get("promoted_at")) == (newest.to_version, newest.at)


def page(repo: Path, newest: LedgerEntry) -> str:
    """The command that restores production_current.json, or writes the file anew from the ledger."""
    return _restored(repo, _FILES[1], lambda content: plain(content) == newest.page) or ANEW


def content_of(repo: Path, commit: str, name: str) -> bytes | None:
    """The content of a file in a commit, or in Git's index without one; None if Git has none."""
    try:
        # Without a fetch: a clone may have left out what no branch has any more.
        done = Git(repo).attempt("cat-file", "blob", f"{commit}:./{name}", environ={"GIT_NO_LAZY_FETCH": "1"})
    except GitError:  # git isn't installed, as in a container that only serves
        return None
    return done.stdout if done.returncode == 0 else None


def plain(content: bytes) -> str:
    """The text of a file with the line ends that were written; Git on Windows may have changed them."""
    return content.decode("utf-8", "replace").replace("\r\n", "\n")


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
    for commit in ("", *_commits(repo, name, _COMMITS)):
        content = content_of(repo, commit, name)
        if content is not None and is_sound(content):
            return _restore(commit, name)
    return ""


def _restore(commit: str, *names: str) -> str:
    source = f"--source={commit} --staged --worktree " if commit else ""
    return f"git restore {source}{' '.join(names)}"


def _commits(repo: Path, name: str, most: int) -> list[str]:
    try:
        told = Git(repo).attempt("rev-list", "--abbrev-commit", f"--max-count={most}", "HEAD", "--", name)
    except GitError:
        return []
    return told.stdout.decode("ascii", "replace").split()
