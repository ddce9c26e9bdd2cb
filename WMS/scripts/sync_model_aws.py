#!/usr/bin/env python3
"""`wms sync --from s3`: bring Production to WMS/models from S3."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "WMS" / "src"))

from wms.start import run_wms

if __name__ == "__main__":
    sys.exit(run_wms("sync", "--from", "s3"))
