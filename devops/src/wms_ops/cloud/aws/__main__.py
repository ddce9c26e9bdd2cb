"""`python -m wms_ops.targets.aws`."""

import sys

from wms.errors import run_main
from wms_ops.commands.cloud_aws import main

sys.exit(run_main(main))
