"""Brings Production's files to a folder: finds the version, checks local and downloaded files, and places them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from wms.errors import LedgerError, ModelDamagedError, from_os_error
from wms.files import object_in, parse_json, sha256_bytes, sha256_file, write_atomic
from wms.formats import refuse_newer
from wms.links import refuse_links
from wms.registry.ledger import LedgerEntry
from wms.registry.lineage import CARD, DOCUMENTS, FILES, ONNX, WEIGHTS
from wms.registry.weights import check_architecture

STAGING: Final = ".sync"
"""Staging folder beside the model's files; a killed sync may leave the folder, and the next sync removes it."""

_REFUSED: Final = "nothing was replaced. Publish the model again, or look at the ledger with `wms lineage`"


def newer_chain(here: Sequence[LedgerEntry], upstream: Sequence[LedgerEntry]) -> tuple[LedgerEntry, ...]:
    """The longer of two ledgers that begin alike.

    Raises LedgerError if their entries differ: then two people promoted without knowing of each other.
    """
    shared = min(len(here), len(upstream))
    for one, other in zip(here[:shared], upstream[:shared], strict=True):
        if one.hash != other.hash:
            raise LedgerError(
                f"The ledger here and the one on GitHub differ from entry {one.seq} on; run `git pull`, and keep "
                "the one that the registry has."
            )
    return tuple(here if len(here) >= len(upstream) else upstream)


def is_here(folder: Path, entry: LedgerEntry) -> bool:
    """Whether `folder` holds exactly the files of this ledger entry, by hash."""
    try:
        hashes = (sha256_file(folder / WEIGHTS), sha256_file(folder / ONNX))
    except OSError:
        return False
    return hashes == (entry.weights_sha256, entry.onnx_sha256) and not _differing(object_in(folder / CARD), entry)


def verify_files(files: Mapping[str, bytes], entry: LedgerEntry, source: str) -> None:
    """Check that downloaded files are this ledger entry's model, complete, and match the card's architecture.

    `files` has the names of FILES; `source` names their origin. Raises ModelDamagedError.
    """
    version = f"version {entry.to_version}"
    for name in FILES:
        if name not in files:
            raise ModelDamagedError(f"{source} has no {name} of {version}; {_REFUSED}.")
    for name, expected in ((WEIGHTS, entry.weights_sha256), (ONNX, entry.onnx_sha256)):
        found = sha256_bytes(files[name])
        if found != expected:
            raise ModelDamagedError(
                f"{name} from {source} isn't {version}: its SHA-256 is {found[:12]}..., but {expected[:12]}... in the "
                f"ledger; {_REFUSED}."
            )
    try:
        card: Any = parse_json(files[CARD])
    except ValueError:
        card = None
    if not isinstance(card, dict):
        raise ModelDamagedError(f"{CARD} from {source} isn't a JSON object; {_REFUSED}.")
    refuse_newer(card, f"{CARD} from {source}", ModelDamagedError)
    if differing := _differing(card, entry):
        raise ModelDamagedError(
            f"{CARD} from {source} isn't {version}: {differing} differs from the ledger; {_REFUSED}."
        )
    check_architecture(files[WEIGHTS], f"{WEIGHTS} from {source}", card)


def stage(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write verified files to the staging folder, on the same disk as the model; returns the staging folder.

    Only a single process at a time may call this. Raises DiskFullError or UnwritableError.
    """
    staging = folder / STAGING
    refuse_links(staging, folder.parent)
    unstage(folder)
    for name in (*FILES, *DOCUMENTS):
        if name in files:
            write_atomic(staging / name, files[name])
    return staging


def place(folder: Path) -> None:
    """Move the staged files into place, the card last: after a kill in between, the old card rejects the new files.

    Raises DiskFullError or UnwritableError.
    """
    refuse_links(folder / STAGING, folder.parent)
    for name in (*DOCUMENTS, *FILES):
        staged = folder / STAGING / name
        try:
            if name in FILES or staged.exists():
                staged.replace(folder / name)
            else:
                (folder / name).unlink(missing_ok=True)  # another version's
        except OSError as error:
            raise from_os_error(error, folder / name) from error
    unstage(folder)


def unstage(folder: Path) -> None:
    """Remove staged files, also those of a killed sync."""
    shutil.rmtree(folder / STAGING, ignore_errors=True)


def _differing(card: Mapping[str, Any], entry: LedgerEntry) -> str | None:
    """The first field in which card and ledger differ."""
    keys = ("weights_sha256", "onnx_sha256", "config_hash", "data_version", "git_commit")
    return next((key for key in keys if str(card.get(key)) != str(getattr(entry, key))), None)
