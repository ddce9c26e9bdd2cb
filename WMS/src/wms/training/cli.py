"""`python WMS/src/train.py`: arguments in, one training run, paths out."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from wms.config import load_config
from wms.errors import UsageError, UselessModelError
from wms.paths import ROOT, from_root

DEFAULT_CONFIG = Path("WMS/configs/train.yaml")
DEFAULT_RUNS = Path("runs")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="train.py", description="Train the U-Net once on the whole data set.")
    parser.add_argument("--config", type=Path, default=ROOT / DEFAULT_CONFIG, help="recipe (default %(default)s)")
    parser.add_argument("--data", type=Path, help="folder with images/ and masks/, instead of the recipe's")
    parser.add_argument("--splits", type=Path, help="split record, instead of the recipe's")
    parser.add_argument("--runs", type=Path, default=ROOT / DEFAULT_RUNS, help="where run folders go")
    parser.add_argument("--seed", type=int, help="instead of the recipe's")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default %(default)s)")
    parser.add_argument(
        "--resume", nargs="?", const="", metavar="RUN", help="continue the newest run, or the one named"
    )
    parser.add_argument("--quiet", action="store_true", help="only the result")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Train, and print where the model and the report are. Raises WmsError; UselessModelError after that."""
    arguments = build_parser().parse_args(argv)
    config = load_config(arguments.config)
    changes: dict[str, object] = {
        "data__folder": str(arguments.data or from_root(config.data.folder)),
        "data__splits_file": str(arguments.splits or from_root(config.data.splits_file)),
        "data__cache_folder": str(from_root(config.data.cache_folder)),
    }
    if arguments.seed is not None:
        changes["seed"] = arguments.seed
    if arguments.data and not arguments.splits:
        raise UsageError("--data needs --splits FILE as well: each data set has its own record of splits.")
    config = config.with_changes(**changes)

    # These import torch: after the mistakes are told.
    from wms.training.pipeline import run_training
    from wms.training.request import Request

    request = Request(
        runs=arguments.runs,
        device=arguments.device,
        resume=arguments.resume is not None,
        resume_name=arguments.resume or None,
        quiet=arguments.quiet,
    )
    result = run_training(config, request)
    if result is not None:
        model = shlex.quote(str(result.model))
        print(f"Test Dice {result.test_dice:.4f}, IoU {result.test_iou:.4f}")
        print(f"Report: {result.report}")
        print(f"Model:  {result.model}")
        if result.marks_nothing:
            raise UselessModelError(
                "The model marks nothing on any test photo, so it's of no use: look at the masks with data-qa.py and "
                "at the report, train on more photos or for longer."
            )
        print(f"Try it: python WMS/src/predicts.py --model {model} --overlay")
    return 0
