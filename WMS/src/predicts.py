"""Marks the reading strip on photos: `python WMS/src/predicts.py --help` says how."""

import sys

from wms.start import run_script

if __name__ == "__main__":
    sys.exit(run_script("wms.inference.cli:main"))
