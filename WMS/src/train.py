"""Train the U-Net once: see `python WMS/src/train.py --help`."""

import sys

from wms.errors import run_main
from wms.training.cli import main

if __name__ == "__main__":
    sys.exit(run_main(main))
