"""`python -m wms_ops.targets`."""

import sys

from wms.errors import run_main
from wms_ops.commands.cloud import main

sys.exit(run_main(main))
