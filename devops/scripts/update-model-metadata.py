#!/usr/bin/env python3
"""`wms versions metadata`: write model-metadata.json."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "WMS" / "src"))

from wms.start import run_wms

if __name__ == "__main__":
    sys.exit(run_wms("versions", "metadata"))
