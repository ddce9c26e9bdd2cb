"""`python -m wms_ops.pipeline`."""

import sys

from wms.errors import run_main
from wms_ops.pipeline.cli import main

sys.exit(run_main(main))
