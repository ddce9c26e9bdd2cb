"""`python -m wms.serving`, the service's name before `wms serve`."""

import sys

from wms.start import run_renamed

if __name__ == "__main__":
    sys.exit(run_renamed("wms.serving", "serve"))
