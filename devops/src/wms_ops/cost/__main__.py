"""`python -m wms_ops.cost`."""

import sys

from wms.start import run_script

sys.exit(run_script("wms_ops.commands.cost:main"))
