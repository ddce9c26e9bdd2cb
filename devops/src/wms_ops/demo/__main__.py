"""`python -m wms_ops.demo`."""

import sys

from wms.errors import run_main
from wms_ops.demo.cli import main

sys.exit(run_main(main))
