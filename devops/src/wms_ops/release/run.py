"""Synchronises Production: checks the local files, finds a source, verifies the download and moves it into place."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wms.errors import ModelNotFoundError, WmsError
from wms.files import exclusive_lock
from wms.inference.predictor import Predictor
from wms.registry.ledger import LedgerEntry
from wms.registry.lineage import WEIGHTS
from wms.registry.shipped import ship
from wms.registry.sync import is_here, place, stage, unstage, verify_files
from wms_ops.release.sources import ModelSource

LOCK: Final = ".sync.lock"


@dataclass(frozen=True)
class Synced:
    """The result: the source's name, None if the model was here already; bytes and seconds of the download."""

    entry: LedgerEntry
    source: str | None
    size: int
    seconds: float


def sync_model(
    entry: LedgerEntry,
    folder: Path,
    sources: Sequence[ModelSource],
    *,
    force: bool = False,
    show: Callable[[str], None] = print,
) -> Synced:
    """Make `folder` hold the ledger entry's model, from the first source that has the model.

    Downloads nothing if the model is here already, unless `force`. New files are verified against the ledger, loaded
    once, and only then moved into place. Raises ModelNotFoundError if no source has the model, ModelDamagedError for
    files of another model, and the errors of the sources, DiskFullError or UnwritableError.

    >>> done = sync_model(entry, Path("WMS/models"), [S3Source(store)])  # doctest: +SKIP
    >>> sentence(done, Path("WMS/models"))  # doctest: +SKIP
    'WMS/models/production.pth is Production now: version 3 (Dice 0.9441, ...), 7.4 MiB from s3://... in 1.2 s. ...'
    """
    started = time.monotonic()
    with exclusive_lock(folder / LOCK):
        if not force and is_here(folder, entry):
            ship(folder, entry)
            return Synced(entry, None, 0, time.monotonic() - started)
        files, source = _fetch(entry, sources, show)
        try:
            verify_files(files, entry, source)
            Predictor(stage(folder, files), threads=1)  # the last proof: it loads, and names these weights
            place(folder)
            ship(folder, entry)
        finally:
            unstage(folder)
    return Synced(entry, source, sum(map(len, files.values())), time.monotonic() - started)


def sentence(done: Synced, folder: Path) -> str:
    """The final sentence for the user."""
    entry = done.entry
    model = f"version {entry.to_version} (Dice {entry.metrics.dice:.4f}, IoU {entry.metrics.iou:.4f})"
    if done.source is None:
        return f"{folder / WEIGHTS} is Production already: {model}. Nothing was downloaded."
    return (
        f"{folder / WEIGHTS} is Production now: {model}, {done.size / 2**20:.1f} MiB from {done.source} in "
        f"{done.seconds:.1f} s. Its SHA-256 {entry.weights_sha256[:12]}... is the ledger's."
    )


def _fetch(
    entry: LedgerEntry, sources: Sequence[ModelSource], show: Callable[[str], None]
) -> tuple[dict[str, bytes], str]:
    """Download the files; returns them and their source's name.

    A source that fails is passed over, except that no instance is started after a failure: a forgotten login must not
    cost money.
    """
    reasons: list[str] = []
    trouble: WmsError | None = None
    for source in sources:
        if trouble and source.costs:
            continue
        show(f"Looking for version {entry.to_version} in {source.name}.")
        try:
            return dict(source.fetch(entry)), source.name
        except ModelNotFoundError as error:
            reasons.append(str(error))
        except WmsError as error:
            show(str(error))
            trouble = trouble or error
    if trouble:
        raise trouble
    raise ModelNotFoundError(
        f"Version {entry.to_version} can't be had. {' '.join(reasons)} Publish it again, or set MLFLOW_TRACKING_URI."
    )
