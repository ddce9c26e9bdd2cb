#!/usr/bin/env python3
"""`wms data check`: check a folder of photos and masks."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "WMS" / "src"))

from wms.start import run_wms


def validate_data(folder, **settings):
    """The report on a folder with images/ and masks/, as `wms.data.qa.validate_data` makes it."""
    from wms.data.qa import validate_data as validate  # here: a Python without its libraries gets a sentence

    return validate(folder, **settings)


if __name__ == "__main__":
    sys.exit(run_wms("data", "check"))
