"""`wms versions ledger`: checks the chain of promotions against all that tells of it, and lists the entries."""

from __future__ import annotations

import argparse
from typing import Final

from wms.command import Command, folder
from wms.names import tell
from wms.project import project
from wms.registry.ledger import FOLDER, Ledger
from wms.text import counted
from wms_ops.gate.witnesses import unbacked
from wms_ops.git.records import require_sound


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the argument of `wms versions ledger`."""
    parser.add_argument("folder", nargs="?", type=folder, default=FOLDER, help="where the ledger lies")


def run(options: argparse.Namespace) -> int:
    """Check the chain and list its entries; returns 0 for a sound chain.

    Raises LedgerError or ModelDamagedError, also where production_current.json, model-metadata.json or Git know of
    more than the chain.
    """
    entries = require_sound(options.folder)
    for entry in entries:
        before = "nothing" if entry.from_version is None else f"version {entry.from_version}"
        tell(
            f"{entry.seq}. {entry.at} {entry.who}: {entry.action} from {before} to version {entry.to_version}, "
            f"Dice {entry.metrics.dice:.4f}, IoU {entry.metrics.iou:.4f} ({entry.verdict})"
        )
        if entry.gate is not None:
            tell(f"   the gate's settings: {entry.gate.text}")
    print(f"The chain of {counted(len(entries), 'entry')} is sound.")
    if damage := unbacked(entries, options.folder, project().model):
        tell(str(damage))
    if Ledger(options.folder).torn:
        print("A killed promotion left a part of a line at the end; the next promotion cuts it off.")
    return 0


COMMAND: Final = Command("Check the ledger of promotions and list it.", declare, run)
