"""`python -m wms_ops.dataset`, a name before `wms data`."""

import sys

from wms.start import run_renamed

if __name__ == "__main__":
    sys.exit(run_renamed("wms_ops.dataset", "data"))
