"""Train the U-Net once: see `python WMS/src/train.py --help`."""

import sys

from wms.start import run_script

if __name__ == "__main__":
    sys.exit(run_script("wms.training.cli:main"))
