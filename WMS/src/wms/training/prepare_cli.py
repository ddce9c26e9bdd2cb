"""`wms data prepare`: checks, hashes, decodes and splits the data set, before any training."""

from __future__ import annotations

import argparse
from pathlib import Path

from wms.command import Command
from wms.config import load_config
from wms.paths import ROOT

RECIPE = ROOT / "WMS" / "configs" / "train.yaml"
PREPARED = ROOT / "WMS" / "data" / "prepared.json"


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the preparation."""
    parser.add_argument("--config", type=Path, default=RECIPE, help="recipe (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="folder with images/ and masks/, instead of the recipe's")
    parser.add_argument("--splits", type=Path, help="split record, instead of the recipe's")
    parser.add_argument("--output", type=Path, default=PREPARED, help="what was found, as JSON (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    """Prepare; returns 0. Raises ConfigError, UsageError and the errors of `prepare`."""
    config = load_config(options.config).with_data(options.data, options.splits)

    from wms.training.dvc_stages import describe, prepare  # slow (torch): a user's mistakes come first

    print(describe(prepare(config, options.output)))
    return 0


COMMAND = Command("Check, hash and decode every pair, and record the splits of new photos.", declare, run)
