"""`wms train`: train the U-Net once."""

import sys

from wms.start import run_wms

if __name__ == "__main__":
    sys.exit(run_wms("train"))
