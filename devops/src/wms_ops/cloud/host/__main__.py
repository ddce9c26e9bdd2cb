"""`python -m wms_ops.cloud.host`."""

import sys

from wms.errors import run_main
from wms_ops.cloud.host.agent import main

sys.exit(run_main(main))
