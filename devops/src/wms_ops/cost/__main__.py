"""`python -m wms_ops.cost`."""

import sys

from wms.errors import run_main
from wms_ops.cost.cli import main

sys.exit(run_main(main))
