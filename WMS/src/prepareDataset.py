"""`wms data prepare`: check, hash and split the data set."""

import sys

from wms.start import run_wms

if __name__ == "__main__":
    sys.exit(run_wms("data", "prepare"))
