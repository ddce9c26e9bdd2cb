#!/usr/bin/env python3
"""Check a folder of photos and masks: see docs/data-qa.md and `data-qa.py --help`."""

import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("wms") is None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "WMS" / "src"))

from wms.start import run_script

if __name__ == "__main__":
    sys.exit(run_script("wms.data.qa.cli:main"))
