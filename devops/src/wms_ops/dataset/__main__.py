"""`python -m wms_ops.dataset`."""

import sys

from wms.start import run_script

sys.exit(run_script("wms_ops.commands.data:main"))
