"""`python -m wms_ops.targets.host`."""

import sys

from wms.errors import run_main
from wms_ops.targets.host.agent import main

sys.exit(run_main(main))
