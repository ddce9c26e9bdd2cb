#!/usr/bin/env python3
"""Print the Dice and IoU that a new model has to beat: see docs/promotion.md."""

import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("wms_ops") is None:
    root = Path(__file__).resolve().parents[2]
    sys.path[:0] = [str(root / "WMS" / "src"), str(root / "devops" / "src")]

from wms.start import run_script

if __name__ == "__main__":
    sys.exit(run_script("wms_ops.commands.promote:baseline_main"))
