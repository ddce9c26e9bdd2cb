"""`python -m wms_ops.pipeline`, a name before `wms loop`."""

import sys

from wms.start import run_renamed

if __name__ == "__main__":
    sys.exit(run_renamed("wms_ops.pipeline", "loop"))
