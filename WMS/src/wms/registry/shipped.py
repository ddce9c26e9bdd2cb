"""The anchor that travels with a model's files, so that a service without network holds its ledger against it.

The model's folder and the ledger's are two places. A ledger that was rewritten, consistently, differs from the anchor
beside the weights; of a model that was exchanged with its anchor the ledger has no entry. Offline nobody can tell where
both were exchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from wms.errors import LedgerError
from wms.files import write_atomic
from wms.git import answer
from wms.project import project
from wms.registry.anchors import anchor_of
from wms.registry.ledger import HISTORY, LedgerEntry, parse_entry, parse_history
from wms.regular import read_regular

ANCHOR: Final = "ledger_anchor.json"
"""The file beside a model's files that holds the ledger's entry about them, as it was verified."""

_MEND: Final = "find out which of them was changed, then bring both back with `git pull` and `wms sync --force`"


def ship(folder: Path, entry: LedgerEntry) -> None:
    """Write the anchor of a verified entry beside the model's files; an equal file is left alone.

    Raises DiskFullError or UnwritableError.
    """
    content = anchor_of(entry).encode()
    if _content(folder / ANCHOR) != content:
        write_atomic(folder / ANCHOR, content)


def read_shipped(folder: Path) -> LedgerEntry | None:
    """The entry of the anchor in a model's folder; None without one. Raises LedgerError for a damaged anchor."""
    content = _content(folder / ANCHOR)
    if content is None:
        return None
    try:
        return parse_entry(content.decode().rstrip("\r\n"), str(folder / ANCHOR))
    except (LedgerError, UnicodeDecodeError) as error:
        raise LedgerError(f"{folder / ANCHOR} was changed after it was written; {_MEND}.") from error


def require_anchor(folder: Path, ledger: Path, entries: Sequence[LedgerEntry], entry: LedgerEntry) -> None:
    """Raise LedgerError if a served model's ledger contradicts the anchor beside the model, or main.

    `entry` is the one about the model among the ledger's `entries`. Main is asked where the ledger lies in a clone that
    fetched it; then an entry that main lacks needs the anchor, which `wms sync` leaves.
    """
    shipped = read_shipped(folder)
    history = f"{ledger / HISTORY}"
    if shipped is not None and (shipped not in entries or shipped.weights_sha256 != entry.weights_sha256):
        raise LedgerError(
            f"{folder / ANCHOR} names entry {shipped.seq} (version {shipped.to_version}, weights "
            f"{shipped.weights_sha256[:12]}...), but {history} and the model's files beside it say otherwise; {_MEND}."
        )
    name = f"{project().remote}/{project().main_branch}"
    main = parse_history(answer(ledger, "cat-file", "blob", f"refs/remotes/{name}:./{HISTORY}") or b"", name)
    if not main:  # no clone, or nothing was ever merged: nobody can look
        return
    same = main[0] == entries[0]
    for mine, theirs in zip(entries, main, strict=False):
        if same and mine != theirs:
            raise LedgerError(f"Entry {mine.seq} of {history} isn't the one that {name} has; {_MEND}.")
    if entry not in main and shipped is None:
        raise LedgerError(
            f"Entry {entry.seq} of {history} isn't on {name}, and no {ANCHOR} lies in {folder}: nobody vouches for it. "
            "Bring the model with `wms sync`, or merge the ledger into main and run `git fetch`."
        )


def _content(path: Path) -> bytes | None:
    try:
        return read_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise LedgerError(f"{path} can't be read ({error.strerror}); {_MEND}.") from error
