"""`python -m wms_ops.cloud.aws`, a name before `wms cloud`."""

import sys

from wms.start import run_renamed

if __name__ == "__main__":
    words = sys.argv[1:]
    sys.exit(run_renamed("wms_ops.cloud.aws", "cloud", argv=[*words, "--target", "aws"] if words else []))
