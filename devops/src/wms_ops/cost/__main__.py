"""`python -m wms_ops.cost`, a name before `wms cost`."""

import sys

from wms.start import run_renamed

if __name__ == "__main__":
    sys.exit(run_renamed("wms_ops.cost", "cost"))
