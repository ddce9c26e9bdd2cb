"""`wms versions export`: makes production.onnx and its card again from production.pth."""

from __future__ import annotations

import argparse

from wms.command import Command, any_path
from wms.inference.predictor import CARD, ONNX, WEIGHTS


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the folder's argument."""
    parser.add_argument("folder", type=any_path, help=f"the folder that holds {WEIGHTS}")


def run(options: argparse.Namespace) -> int:
    """Export; returns 0. Raises the errors of `export_again`."""
    from wms.inference.export import export_again  # imports torch, which help and completion do without

    done = export_again(options.folder)
    print(f"Wrote {done.onnx}; its logits differ from torch's by at most {done.max_difference:.1e}.")
    return 0


COMMAND = Command(f"Make {ONNX} and {CARD} from {WEIGHTS}.", declare, run)
