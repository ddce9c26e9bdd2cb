#!/usr/bin/env python3
"""`wms versions scores`: show the versions with their scores."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "WMS" / "src"))

from wms.start import run_wms

if __name__ == "__main__":
    sys.exit(run_wms("versions", "scores"))
