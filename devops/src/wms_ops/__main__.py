"""`python -m wms_ops`: the command `wms`, for a Python into which the project isn't installed."""

import sys

from wms.start import run_wms

if __name__ == "__main__":
    sys.exit(run_wms())
