"""`python -m wms_ops.cloud.aws`."""

import sys

from wms.errors import run_main
from wms_ops.cloud.aws.cli import main

sys.exit(run_main(main))
