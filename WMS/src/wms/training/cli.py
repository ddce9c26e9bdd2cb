"""`wms train`: runs a training and prints the paths of its results."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from wms.command import Command, any_path, whole
from wms.config import load_config
from wms.errors import UselessModelError
from wms.paths import ROOT, RUNS

DEFAULT_CONFIG = Path("WMS/configs/train.yaml")


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a training."""
    parser.add_argument("--config", type=any_path, default=ROOT / DEFAULT_CONFIG, help="recipe (default %(default)s)")
    parser.add_argument("--data", type=any_path, help="folder with images/ and masks/, instead of the recipe's")
    parser.add_argument("--splits", type=any_path, help="split record, instead of the recipe's")
    parser.add_argument("--runs", type=any_path, default=RUNS, help="where run folders go")
    parser.add_argument("--seed", type=whole(0, 2**32 - 1), help="instead of the recipe's")
    parser.add_argument(
        "--attempts", type=whole(1, 100), metavar="N", help="train N seeds, and test the best on validation alone"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default %(default)s)")
    parser.add_argument(
        "--resume", nargs="?", const="", metavar="RUN", help="continue the newest run, or the one named"
    )
    parser.add_argument("--quiet", action="store_true", help="only the result")


def run(arguments: argparse.Namespace) -> int:
    """Train, and print the paths of model and report. Raises WmsError; UselessModelError after printing."""
    asked = {"seed": arguments.seed, "training__attempts": arguments.attempts}
    changes = {key: value for key, value in asked.items() if value is not None}
    config = load_config(arguments.config).with_data(arguments.data, arguments.splits, **changes)

    # These import torch, which takes seconds: a user's mistakes are reported before.
    from wms.training.request import Request
    from wms.training.train import run_training

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
                "The model marks nothing on any test photo, so it's of no use: look at the masks with `wms data check` "
                "and at the report, train on more photos or for longer."
            )
        print(f"Try it: wms predict --model {model} --overlay")
    return 0


COMMAND = Command("Train the U-Net once on the whole data set.", declare, run)
