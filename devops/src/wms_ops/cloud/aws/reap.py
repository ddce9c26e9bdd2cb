"""`python -m wms_ops.cloud.aws.reap`, a name before `wms cloud reap`."""

import sys

from wms.start import run_renamed

if __name__ == "__main__":
    sys.exit(run_renamed("wms_ops.cloud.aws.reap", "cloud", "reap"))
