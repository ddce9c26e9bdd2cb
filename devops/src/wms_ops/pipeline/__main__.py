"""`python -m wms_ops.loop`."""

import sys

from wms.errors import run_main
from wms_ops.commands.loop import main

sys.exit(run_main(main))
