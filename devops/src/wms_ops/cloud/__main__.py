"""`python -m wms_ops.cloud`."""

import sys

from wms.errors import run_main
from wms_ops.cloud.cli import main

sys.exit(run_main(main))
