"""Marks the reading strip on photos: `python WMS/src/predicts.py --help` says how."""

import sys

from wms.errors import run_main
from wms.inference.cli import main

if __name__ == "__main__":
    sys.exit(run_main(main))
