"""`wms data prepare`: checks, hashes, decodes and splits the data set, before any training."""

from __future__ import annotations

import argparse

from wms.command import Command, any_path, own_file
from wms.config import load_config
from wms.paths import RECIPE, ROOT

PREPARED = ROOT / "WMS" / "data" / "prepared.json"
_FINDINGS = rb'{\s*"images": \d+,\s*"splits": '  # how an earlier --output begins


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the preparation."""
    parser.add_argument("--config", type=any_path, default=RECIPE, help="recipe (default: %(default)s)")
    parser.add_argument("--data", type=any_path, help="folder with images/ and masks/, instead of the recipe's")
    parser.add_argument("--splits", type=any_path, help="split record, instead of the recipe's")
    parser.add_argument(
        "--output", type=own_file(_FINDINGS), default=PREPARED, help="findings as JSON (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """Prepare; returns 0. Raises ConfigError, UsageError and the errors of `prepare`."""
    config = load_config(options.config).with_data(options.data, options.splits)

    from wms.training.dvc_stages import describe, prepare  # slow (torch): a user's mistakes come first

    print(describe(prepare(config, options.output)))
    return 0


COMMAND = Command("Check, hash and decode every pair, and record the splits of new photos.", declare, run)
