"""`wms predict`: mark the reading strip on photos."""

import sys

from wms.start import run_wms

if __name__ == "__main__":
    sys.exit(run_wms("predict"))
